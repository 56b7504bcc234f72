import { asMooncakeError, type Completion, type TransferOp, type Transport } from '@mooncake-ts/core'

/** Settles when the stream has ended; gives the error of the batch as a whole, if there was one. */
export function executeBatch(
  transport: Transport,
  batch: readonly TransferOp[],
  signal: AbortSignal,
  next: (completion: Completion) => void,
): Promise<Error | undefined> {
  return new Promise(resolve => {
    const error = (cause: unknown): void => {
      resolve(asMooncakeError(cause, 'ERR_TRANSFER_FAIL'))
    }
    try {
      transport.execute(batch, { signal }).subscribe({
        next,
        error,
        complete: () => {
          resolve(undefined)
        },
      })
    } catch (cause) {
      error(cause)
    }
  })
}
