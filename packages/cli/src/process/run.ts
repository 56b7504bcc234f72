import { errorCode, hasCode } from '@mooncake-ts/core'

/** Wrong usage; everything else that fails exits with 1. */
const EXIT_USAGE = 2

/**
 * Runs a program: what it throws becomes one sentence on standard error and an exit code. The process ends by itself when nothing is left to do, so
 * output is never cut off.
 */
export async function runProgram(program: string, main: () => Promise<number>): Promise<void> {
  try {
    process.exitCode = await main()
  } catch (error) {
    process.stderr.write(`${program}: ${sentence(error)}\n`)
    const usage =
      hasCode(error, 'ERR_CONFIG') ||
      hasCode(error, 'ERR_INVALID_PARAMS') ||
      hasCode(error, 'ERR_INSECURE_BIND')
    process.exitCode = usage ? EXIT_USAGE : 1
  }
}

function sentence(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  // What we did not foresee is a bug: then the stack is worth more than a sentence.
  const code = errorCode(error)
  return code === 'ERR_INTERNAL' ? (error.stack ?? error.message) : `${error.message} (${code})`
}

/** Settles at the first SIGINT or SIGTERM; a second one kills the process at once, as people expect. Its listeners keep a server alive, not this. */
export function untilStopped(): Promise<NodeJS.Signals> {
  return new Promise(resolve => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, resolve)
  })
}
