import { createContext, Script, type Context } from 'node:vm'
import { MooncakeError } from '@mooncake-ts/core'

/** Time that one slice of keys may take; innocent patterns need a few milliseconds. */
const SLICE_TIMEOUT_MS = 200

const RUN = new Script('match()')

/**
 * A regular expression over keys. JavaScript cannot interrupt a match that backtracks forever, but a vm
 * script with a time limit can, so the matching runs inside one. It is a stop-watch, not a sandbox: nothing
 * in it comes from outside but the pattern.
 */
export class KeyMatcher {
  readonly #context: Context
  #keys: readonly string[] = []
  #matching: string[] = []

  /** @throws ERR_INVALID_PARAMS */
  constructor(pattern: string) {
    const regex = compile(pattern)
    const match = (): void => {
      this.#matching = this.#keys.filter(key => regex.test(key))
    }
    this.#context = createContext({ match })
  }

  /** @throws ERR_INVALID_PARAMS when the pattern is too slow */
  filter(keys: readonly string[]): string[] {
    this.#keys = keys
    try {
      RUN.runInContext(this.#context, { timeout: SLICE_TIMEOUT_MS })
    } catch (cause) {
      const message = `The pattern needs over ${SLICE_TIMEOUT_MS} ms for ${keys.length} keys; write it without nested repetitions`
      throw new MooncakeError('ERR_INVALID_PARAMS', message, { cause })
    }
    return this.#matching
  }
}

function compile(pattern: string): RegExp {
  try {
    return new RegExp(pattern)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new MooncakeError('ERR_INVALID_PARAMS', `Not a regular expression: ${reason}`, { cause })
  }
}
