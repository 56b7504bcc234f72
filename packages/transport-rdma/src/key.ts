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
}

export function encodeKey(slot: number, token: Uint8Array): Uint8Array {
  const key = new Uint8Array(KEY_BYTES)
  new DataView(key.buffer).setUint32(0, slot, true)
  key.set(token, TOKEN_AT)
  return key
}

/** Nothing for what no transport of this kind has made. */
export function decodeKey(key: Uint8Array): WindowKey | undefined {
  if (key.byteLength !== KEY_BYTES) return undefined
  const view = new DataView(key.buffer, key.byteOffset, key.byteLength)
  if (view.getUint32(4, true) !== 0) return undefined
  const word = (i: number): number => view.getUint32(TOKEN_AT + 4 * i, true)
  return { slot: view.getUint32(0, true), token: [word(0), word(1), word(2), word(3)] }
}
