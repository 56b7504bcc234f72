import { ERRORS, isErrorCode, type ErrorCode, type ErrorDefinition } from './registry.js'

/**
 * Every failure that callers may want to tell apart. Match on `code`: `instanceof` fails across copies of
 * this package.
 */
export class MooncakeError extends Error {
  readonly code: ErrorCode
  override readonly name = 'MooncakeError'

  constructor(code: ErrorCode, message?: string, options?: ErrorOptions) {
    super(message ?? ERRORS[code].summary, options)
    this.code = code
  }

  get retryable(): boolean {
    return ERRORS[this.code].retryable
  }

  /** The reference system's number, where it has one. */
  get number(): number | undefined {
    const definition: ErrorDefinition = ERRORS[this.code]
    return definition.number
  }
}

/** The code of anything that was thrown; `ERR_INTERNAL` for what has none of ours. */
export function errorCode(error: unknown): ErrorCode {
  const code = (error as { code?: unknown } | undefined)?.code
  return isErrorCode(code) ? code : 'ERR_INTERNAL'
}

export function hasCode(error: unknown, code: ErrorCode): boolean {
  return (error as { code?: unknown } | null | undefined)?.code === code
}

export function isRetryable(error: unknown): boolean {
  return ERRORS[errorCode(error)].retryable
}

/** Gives anything thrown a code, keeping what has one of ours as it is. */
export function asMooncakeError(error: unknown, fallback: ErrorCode = 'ERR_INTERNAL'): MooncakeError {
  if (error instanceof MooncakeError) return error
  const code = (error as { code?: unknown } | undefined)?.code
  const message = error instanceof Error ? error.message : String(error)
  return new MooncakeError(isErrorCode(code) ? code : fallback, message, { cause: error })
}
