/**
 * What a window's `key` holds: its place in the table of its owner and the token that peers must find there.
 *
 *     0 u32 slot   4 zero[4]   8 token[16]      little-endian
 */
export const KEY_BYTES = 24
export const TOKEN_BYTES = 16

const TOKEN_AT = 8

export interface WindowKey {
  readonly slot: number
  /** The token, as four words. */
  readonly token: readonly [number, number, number, number]
  /** All of it, as a text to look things up by. */
  readonly name: string
}

export function encodeKey(slot: number, token: Uint8Array): Uint8Array {
  const key = new Uint8Array(KEY_BYTES)
  new DataView(key.buffer).setUint32(0, slot, true)
  key.set(token, TOKEN_AT)
  return key
}

/** Whether a transport of this kind may have made it. */
export function isKey(key: Uint8Array): boolean {
  if (key.byteLength !== KEY_BYTES) return false
  for (let at = 4; at < TOKEN_AT; at++) if (key[at] !== 0) return false
  return true
}

/** Of what `isKey`. */
export function decodeKey(key: Uint8Array): WindowKey {
  const view = new DataView(key.buffer, key.byteOffset, key.byteLength)
  const word = (i: number): number => view.getUint32(TOKEN_AT + 4 * i, true)
  const token = [word(0), word(1), word(2), word(3)] as const
  return { slot: view.getUint32(0, true), token, name: nameOfKey(key) }
}

export function nameOfKey(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1')
}
