import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { buildNative } from './native.js'

const run = promisify(execFile)

export interface RawCopySetting {
  readonly operation: 'get' | 'put'
  readonly objectBytes: number
  readonly batch: number
  readonly durationMs: number
}

/** Streams that the ceiling is taken over; the best one counts. */
const STREAMS = [1, 2] as const

/** GB/s of two processes that do nothing but copy through sockets: the best over several streams. */
export async function rawCopyGBps({
  operation,
  objectBytes,
  batch,
  durationMs,
}: RawCopySetting): Promise<number> {
  const program = await buildNative('raw_copy')
  let best = 0
  for (const streams of STREAMS) {
    const args = [operation, objectBytes, batch, streams, durationMs].map(String)
    const { stdout } = await run(program, args, { timeout: durationMs + 60_000 })
    const [bytes, seconds] = stdout.trim().split(' ').map(Number)
    best = Math.max(best, bytes! / seconds! / 1e9)
  }
  return best
}
