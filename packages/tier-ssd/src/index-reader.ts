import { open, type FileHandle } from 'node:fs/promises'
import type { IoEngine } from '@mooncake-ts/io-uring'
import { fromSystem, ioError, resultOf } from './io.js'
import { FRAME_HEADER_BYTES, FRAME_PAYLOAD_BYTES_MAX, frameEnd, MAGIC_BYTES } from './index-record.js'

/** Read at a time; the event loop has a turn after each. */
const CHUNK_BYTES = 1 << 20

/** How far the reading of one file came. */
export class IndexFileReport {
  fileBytes = 0
  /** Where the last whole frame ends. */
  endBytes = 0
  /** In whole frames. */
  frameBytes = 0

  /** Something in the middle cannot be read. What follows the last frame was never acknowledged. */
  get isDamaged(): boolean {
    return this.frameBytes < this.endBytes
  }
}

/**
 * The payloads of the whole frames of an index file, chunk by chunk; they are valid until the next chunk.
 * What is no frame is passed over, up to the next one that is whole.
 * @throws ERR_IO
 */
export async function* readFrames(
  engine: IoEngine,
  path: string,
  seed: number,
  report = new IndexFileReport(),
): AsyncGenerator<readonly Buffer[]> {
  const file = await fromSystem(`${path}: open`, open(path, 'r'))
  const buffer = Buffer.alloc(CHUNK_BYTES + FRAME_HEADER_BYTES + FRAME_PAYLOAD_BYTES_MAX)
  const slot = engine.attach(buffer)
  try {
    report.fileBytes = (await fromSystem(`${path}: stat`, file.stat())).size
    let kept = 0
    for (let position = 0; position < report.fileBytes;) {
      const bytes = Math.min(CHUNK_BYTES, report.fileBytes - position)
      await readWhole(engine, file, [slot, kept, bytes], position)
      const end = kept + bytes
      const scan = scanFrames(buffer.subarray(0, end), seed, position + bytes === report.fileBytes)
      if (scan.payloads.length > 0) report.endBytes = position - kept + scan.lastEnd
      report.frameBytes += scan.frameBytes
      yield scan.payloads
      buffer.copyWithin(0, scan.next, end)
      kept = end - scan.next
      position += bytes
    }
  } finally {
    engine.detach(slot)
    await file.close()
  }
}

async function readWhole(
  engine: IoEngine,
  file: FileHandle,
  piece: readonly [slot: number, offset: number, byteLength: number],
  position: number,
): Promise<void> {
  const result = await resultOf(done => engine.inline.read(file.fd, piece, position, done))
  if (result !== piece[2]) throw ioError('The index cannot be read', result, piece[2])
}

interface Scan {
  readonly payloads: readonly Buffer[]
  readonly frameBytes: number
  readonly lastEnd: number
  /** What is to be looked at again, with more behind it. */
  readonly next: number
}

function scanFrames(bytes: Buffer, seed: number, isLast: boolean): Scan {
  const payloads: Buffer[] = []
  let frameBytes = 0
  let lastEnd = 0
  let at = 0
  while (at < bytes.length) {
    const end = frameEnd(bytes, at, bytes.length, seed)
    if (end > 0) {
      payloads.push(bytes.subarray(at + FRAME_HEADER_BYTES, end))
      frameBytes += end - at
      at = lastEnd = end
      continue
    }
    if (end < 0 && !isLast) break
    const next = bytes.indexOf(MAGIC_BYTES, at + 1)
    if (next < 0) {
      // The beginning of one may be in the last three bytes.
      at = isLast ? bytes.length : Math.max(at + 1, bytes.length - MAGIC_BYTES.length + 1)
      break
    }
    at = next
  }
  return { payloads, frameBytes, lastEnd, next: at }
}
