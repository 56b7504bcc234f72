import { getSystemErrorName } from 'node:util'
import { MooncakeError } from '@mooncake-ts/core'

/** The name of a negative result: -104 is `ECONNRESET`. */
export function errnoName(result: number): string {
  return getSystemErrorName(result)
}

/** Passes a result on, or throws the error that it is. */
export function checkResult(call: string, result: number): number {
  if (result >= 0) return result
  const name = errnoName(result)
  throw new MooncakeError(name === 'EADDRINUSE' ? 'ERR_ADDRESS_IN_USE' : 'ERR_IO', `${call}: ${name}`)
}
