/** `tail -f`: shows what the guest writes into a file of the share, while it writes. */
import { open } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'

const POLL_MS = 200
const CHUNK_BYTES = 65_536

/**
 * @param {string} path
 * @param {NodeJS.WritableStream} output
 * @returns {() => Promise<void>} shows the rest, and ends
 */
export function follow(path, output) {
  const stopping = new AbortController()
  const done = copy(path, output, stopping.signal)
  return () => {
    stopping.abort()
    return done
  }
}

async function copy(path, output, stopping) {
  const buffer = Buffer.alloc(CHUNK_BYTES)
  const file = await open(path)
  try {
    let position = 0
    for (;;) {
      // Asked before the read: what was written before the end is then read after it.
      const isLast = stopping.aborted
      const { bytesRead } = await file.read(buffer, 0, CHUNK_BYTES, position)
      position += bytesRead
      output.write(Buffer.from(buffer.subarray(0, bytesRead)))
      if (bytesRead > 0) continue
      if (isLast) return
      await delay(POLL_MS, undefined, { signal: stopping }).catch(() => undefined)
    }
  } finally {
    await file.close()
  }
}
