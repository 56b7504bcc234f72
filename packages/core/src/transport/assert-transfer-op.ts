import type { RemoteSlice, TransferOp } from '../contracts/transport.js'
import { MooncakeError } from '../errors/error.js'
import { assertSlice } from '../memory/assert-slice.js'

/** A transport's own windows. */
export interface WindowKind {
  readonly scheme: string
  isKey(key: Uint8Array): boolean
}

/**
 * What every transport asks of an operation before it is queued. Whether the range lies inside of the window is
 * for the owner to say.
 * @throws ERR_INVALID_PARAMS, ERR_SLICE_OUT_OF_BOUNDS, ERR_REGION_CLOSED, ERR_ACCESS_DENIED
 */
export function assertTransferOp({ kind, local, remote }: TransferOp, windows: WindowKind): void {
  assertSlice(local)
  if (kind === 'read' && local.region.readOnly === true) {
    throw new MooncakeError('ERR_ACCESS_DENIED', 'The local slice lies in memory that is for reading only')
  }
  if (remote.byteLength !== local.byteLength) {
    const message = `local slice of ${local.byteLength} bytes, remote slice of ${remote.byteLength}`
    throw new MooncakeError('ERR_INVALID_PARAMS', message)
  }
  assertWindow(remote, windows)
}

/** @throws ERR_INVALID_PARAMS, ERR_ACCESS_DENIED */
export function assertWindow({ window, offset }: RemoteSlice, windows: WindowKind): void {
  const { scheme, key } = window
  if (scheme !== windows.scheme || !windows.isKey(key)) {
    const message = `A window of ${scheme} with a key of ${key.byteLength} bytes is not ours`
    throw new MooncakeError('ERR_INVALID_PARAMS', message)
  }
  if (!Number.isSafeInteger(offset) || offset < 0) {
    throw new MooncakeError('ERR_ACCESS_DENIED', `Offset ${offset} is not inside the window`)
  }
}
