import type { ObjectIdentity } from '@mooncake-ts/core'

const PAGE_BYTES = 4096

/** The bytes that belong to an identity: each page says whose it is and which. */
export function contentOf({ key, generation, byteLength }: ObjectIdentity): Buffer {
  const content = Buffer.alloc(byteLength)
  for (let at = 0; at < byteLength; at += PAGE_BYTES)
    content.fill(`${key}/${generation}/${at};`, at, Math.min(byteLength, at + PAGE_BYTES))
  return content
}
