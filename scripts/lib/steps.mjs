/** Running programs as named steps: one line each, everything they print in a log that is shown when they fail. */
import { spawn, spawnSync } from 'node:child_process'
import { createWriteStream, mkdirSync, readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

const LOG_CHARACTERS_SHOWN = 6000
/** What takes less had nothing to do, and is not worth a line. */
const SECONDS_TOLD = 2

/** A failure that people can mend: they get the sentence and no stack. */
export class Refusal extends Error {}

/**
 * Runs a program and waits. Prints one line with the time it took.
 *
 * @param {string} title what the line says
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, advice?: string }} [options] `advice` is said when it fails
 */
export async function step(title, command, args, { cwd = root, env = process.env, advice } = {}) {
  const begun = performance.now()
  const logPath = join(root, '.cache', 'setup', `${title.replaceAll(/\W+/g, '-')}.log`)
  mkdirSync(dirname(logPath), { recursive: true })
  const log = createWriteStream(logPath)
  const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
  child.stdout.pipe(log, { end: false })
  child.stderr.pipe(log, { end: false })
  const status = await new Promise(resolve => {
    child.once('error', error => resolve(error.message))
    child.once('close', (code, signal) => resolve(code ?? signal))
  })
  await new Promise(resolve => log.end(resolve))
  if (status === 0) {
    const seconds = (performance.now() - begun) / 1000
    if (seconds >= SECONDS_TOLD) console.log(`setup: ${title} (${seconds.toFixed(1)} s)`)
    return
  }
  console.error(readFileSync(logPath, 'utf8').slice(-LOG_CHARACTERS_SHOWN))
  const sentence = `${title} failed (${status}); all that it printed is in ${relative(root, logPath)}.`
  throw new Refusal(advice == null ? sentence : `${sentence} ${advice}`)
}

/** True where the program is on the PATH. */
export function has(program) {
  return spawnSync('sh', ['-c', 'command -v "$1"', 'sh', program], { stdio: 'ignore' }).status === 0
}

/** Runs the main function of a script: a Refusal is one sentence and exit code 1. */
export async function main(run) {
  try {
    process.exitCode = (await run()) ?? 0
  } catch (error) {
    console.error(error instanceof Refusal ? `\n${error.message}` : error)
    process.exitCode = 1
  }
}

/**
 * Runs a Node program in the foreground, as if it had been called itself: its terminal, our signals, its exit code.
 *
 * @param {readonly string[]} args
 * @param {{ limitMs?: number }} [options] where it takes longer it is ended, and the exit code is 124
 * @returns {Promise<number>}
 */
export function runNode(args, { limitMs } = {}) {
  const child = spawn(process.execPath, args, { cwd: root, stdio: 'inherit' })
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP']
  // A terminal sends Ctrl-C to the child as well: passing it on would be a second one.
  const forward = signal => {
    if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal)
  }
  for (const signal of signals) process.on(signal, forward)
  let timedOut = false
  const timer = limitMs == null ? undefined : setTimeout(end, limitMs)
  function end() {
    timedOut = true
    child.kill('SIGTERM')
    setTimeout(() => child.kill('SIGKILL'), 5000).unref()
  }
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => {
      clearTimeout(timer)
      for (const name of signals) process.off(name, forward)
      resolve(timedOut ? 124 : (code ?? 128 + constants.signals[signal]))
    })
  })
}
