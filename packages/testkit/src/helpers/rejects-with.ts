import { expect } from 'chai'
import type { ErrorCode } from '@mooncake-ts/core'

/** Waits for a rejection with that code, and gives the error. A function may throw as well. */
export async function rejectsWith(
  promise: Promise<unknown> | (() => unknown),
  code: ErrorCode,
): Promise<Error & { readonly code: ErrorCode }> {
  const error = await failureOf(promise)
  expect(error, 'what was thrown').to.be.an.instanceOf(Error)
  expect(error).to.have.property('code', code)
  return error as Error & { readonly code: ErrorCode }
}

/** What was thrown, whatever it is. */
export async function failureOf(promise: Promise<unknown> | (() => unknown)): Promise<unknown> {
  let answer: unknown
  try {
    answer = await (typeof promise === 'function' ? promise() : promise)
  } catch (error) {
    return error
  }
  expect.fail(`It should have failed, but gave ${String(answer)}`)
}
