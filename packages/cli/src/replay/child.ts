import { spawn, type ChildProcess } from 'node:child_process'
import { openSync, closeSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { MooncakeError } from '@mooncake-ts/core'

/** For a hang: a process that ends is noticed at once. An emulated machine takes half a minute for a node. */
export const START_TIMEOUT_MS = 120_000
const STOP_TIMEOUT_MS = 10_000

export interface ServerOptions {
  /** In messages, and of its log file. */
  readonly name: string
  readonly logDir: string
  /** On top of the environment of this process. */
  readonly env?: Readonly<Record<string, string>>
  /** What runs the program, e.g. `ip netns exec blue`. @defaultValue nothing */
  readonly wrapper?: readonly string[]
  /** Until its `READY` line. @defaultValue 120,000 */
  readonly startTimeoutMs?: number | undefined
}

/** How a process ended: by its exit code, or by a signal. */
export interface ExitStatus {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/**
 * One server process of a local cluster, with its log in a file. It has a session of its own, so that Ctrl-C
 * reaches only the process that stops it in order; and a channel, by whose end it knows that this process is
 * gone.
 */
export class ServerProcess {
  readonly name: string
  readonly logPath: string
  readonly exited: Promise<ExitStatus>
  readonly #child: ChildProcess

  private constructor(name: string, logPath: string, child: ChildProcess) {
    this.name = name
    this.logPath = logPath
    this.#child = child
    this.exited = new Promise(resolve => {
      child.once('exit', (code, signal) => {
        resolve({ code, signal })
      })
      child.once('error', () => {
        resolve({ code: null, signal: null }) // It never ran.
      })
    })
  }

  /**
   * Settles when the program has printed its `READY` line; gives the fields of that line.
   *
   * @throws ERR_PLUGIN_START with the end of its log
   */
  static async start(
    program: string,
    argv: readonly string[],
    options: ServerOptions,
  ): Promise<[server: ServerProcess, ready: Readonly<Record<string, string>>]> {
    const { name, logDir, env, wrapper = [], startTimeoutMs = START_TIMEOUT_MS } = options
    const logPath = join(logDir, `${name}.log`)
    const log = openSync(logPath, 'a')
    const [command, ...args] = [...wrapper, process.execPath, programPath(program), ...argv] as [
      string,
      ...string[],
    ]
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', log, 'ipc'],
      detached: true,
      env: { ...process.env, ...env },
    })
    closeSync(log)
    const server = new ServerProcess(name, logPath, child)
    try {
      return [server, await server.#ready(startTimeoutMs)]
    } catch (error) {
      await server.stop()
      throw error
    }
  }

  get pid(): number {
    return this.#child.pid!
  }

  /** Whether it has not ended. */
  get running(): boolean {
    return this.#child.pid != null && this.#child.exitCode == null && this.#child.signalCode == null
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** Asks it to stop, and makes it after a while. */
  async stop(): Promise<ExitStatus> {
    if (!this.running) return await this.exited
    this.kill('SIGTERM')
    const force = setTimeout(() => {
      this.kill('SIGKILL')
    }, STOP_TIMEOUT_MS)
    const status = await this.exited
    clearTimeout(force)
    return status
  }

  async #ready(timeoutMs: number): Promise<Record<string, string>> {
    const lines = createInterface({ input: this.#child.stdout! })
    let late = false
    const timer = setTimeout(() => {
      late = true
      lines.close()
    }, timeoutMs)
    try {
      for await (const line of lines) {
        if (line.startsWith('READY '))
          return Object.fromEntries(
            line
              .slice(6)
              .split(' ')
              .map(field => field.split('=', 2) as [string, string]),
          )
      }
    } finally {
      clearTimeout(timer)
      this.#child.stdout!.resume()
    }
    const tail = readFileSync(this.logPath, 'utf8').trim().split('\n').slice(-5).join('\n')
    const how = late ? `did not start within ${timeoutMs / 1000} s` : 'did not start'
    throw new MooncakeError('ERR_PLUGIN_START', `${this.name} ${how}; its log ends with:\n${tail}`)
  }
}

export function programPath(program: string): string {
  return fileURLToPath(new URL(`../bin/${program}.js`, import.meta.url))
}
