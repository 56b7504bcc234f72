import { readFileSync } from 'node:fs'
import { errorCode, hasCode } from '@mooncake-ts/core'

/** Wrong usage; everything else that fails exits with 1. */
const EXIT_USAGE = 2
const USAGE_CODES = new Set(['ERR_CONFIG', 'ERR_INVALID_PARAMS', 'ERR_INSECURE_BIND'])

/**
 * Runs a program with its arguments, or tells its version: what it throws becomes one sentence on standard error
 * and an exit code. The process ends by itself when nothing is left to do, so output is never cut off.
 */
export async function runProgram(
  program: string,
  main: (argv: readonly string[]) => Promise<number>,
): Promise<void> {
  process.stdout.on('error', endWithReader)
  try {
    const argv = process.argv.slice(2)
    if (argv[0] === '--version') process.stdout.write(`${program} ${packageVersion()}\n`)
    else process.exitCode = await main(argv)
  } catch (error) {
    const reason = rootOf(error)
    process.stderr.write(`${program}: ${sentence(reason)}\n`)
    process.exitCode = USAGE_CODES.has(errorCode(reason)) ? EXIT_USAGE : 1
  }
}

function packageVersion(): string {
  const manifest = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(manifest) as { readonly version: string }).version
}

/** Whoever read our output has enough (`mooncake ls | head -1`), which is no failure of ours. */
function endWithReader(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error
  process.exit(process.exitCode ?? 0)
}

/** That a plugin did not start says less than why. */
function rootOf(error: unknown): unknown {
  let root = error
  while (hasCode(root, 'ERR_PLUGIN_START') && root instanceof Error && root.cause instanceof Error) {
    root = root.cause
  }
  return root
}

function sentence(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if ('syscall' in error) return error.message // Of the system: a file that is not there, a full disk.
  // What we did not foresee is a bug: then the stack is worth more than a sentence.
  const code = errorCode(error)
  return code === 'ERR_INTERNAL' ? (error.stack ?? error.message) : `${error.message} (${code})`
}

/**
 * Settles at the first SIGINT or SIGTERM, or when the process that started this one with a channel is gone:
 * its servers do not outlive it. A second signal kills the process at once, as people expect. This alone does
 * not keep a process alive; its listeners do.
 */
export function untilStopped(): Promise<string> {
  return new Promise(resolve => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, resolve)
    const onDisconnect = (): void => {
      resolve('the end of its parent')
    }
    if (process.connected) {
      process.once('disconnect', onDisconnect)
      process.channel?.unref()
    } else if (process.send != null) onDisconnect()
  })
}
