/**
 * FNV-1a over UTF-16 code units, 32 bits: spreads keys over stripes. Not for anything that an attacker must
 * not guess.
 */
export function hashKey(key: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < key.length; i++) {
    hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193)
  }
  // The low bits of FNV-1a alone are weak for keys that end alike.
  return (hash ^ (hash >>> 15)) >>> 0
}
