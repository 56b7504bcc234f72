import { MooncakeError } from '@mooncake-ts/core'
import { errnoName, type Done } from '@mooncake-ts/io-uring'

/** The unit of places, and what direct I/O wants of offsets and lengths in a file. */
export const BLOCK_BYTES = 4096

export const roundUp = (bytes: number, unit = BLOCK_BYTES): number => Math.ceil(bytes / unit) * unit

const FULL = new Set(['ENOSPC', 'EDQUOT'])

/** An operation of a ring as a promise; below 0 the result is -errno. */
export function resultOf(prepare: (done: Done) => number): Promise<number> {
  return new Promise(resolve => {
    prepare(resolve)
  })
}

/** For `result`s that are not the `wanted` bytes. */
export function ioError(what: string, result: number, wantedBytes: number): MooncakeError {
  if (result >= 0) return new MooncakeError('ERR_IO', `${what}: moved ${result} of ${wantedBytes} bytes`)
  return systemError(what, errnoName(result))
}

/** How the system says that a disk cannot give back what it was given. */
const LOST = new Set(['EIO', 'ENODATA', 'EILSEQ', 'EBADMSG', 'EUCLEAN', 'EREMOTEIO'])

/**
 * For reads of what was written. Bytes that a disk has lost are as bad as wrong ones: nobody shall ask again.
 */
export function readError(what: string, result: number, wantedBytes: number): MooncakeError {
  const { code, message } = ioError(what, result, wantedBytes)
  return new MooncakeError(
    result >= 0 || LOST.has(errnoName(result)) ? 'ERR_CHECKSUM_MISMATCH' : code,
    message,
  )
}

/** An error of a call of the system, by its name: `ENOSPC`, … */
export function systemError(what: string, name: string, cause?: unknown): MooncakeError {
  return new MooncakeError(FULL.has(name) ? 'ERR_NO_SPACE' : 'ERR_IO', `${what}: ${name}`, { cause })
}

/** Awaits a call of `node:fs`, whose errors get a sentence and one of our codes. */
export async function fromSystem<T>(what: string, call: Promise<T>): Promise<T> {
  try {
    return await call
  } catch (cause) {
    throw systemError(what, (cause as { code?: string }).code ?? String(cause), cause)
  }
}
