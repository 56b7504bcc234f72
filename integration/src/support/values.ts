import { createHash } from 'node:crypto'

/** Bytes that nothing but this key (and version) has; compared as a whole. */
export function valueOf(key: string, byteLength: number, version = 0): Buffer {
  const digest = createHash('sha256').update(`${key} ${version}`).digest()
  return Buffer.alloc(byteLength, digest)
}

export function keysOf(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}/${index}`)
}
