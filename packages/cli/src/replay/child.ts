import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process'
import { once } from 'node:events'
import { openSync, closeSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { MooncakeError } from '@mooncake-ts/core'

const READY_TIMEOUT_MS = 30_000
const STOP_TIMEOUT_MS = 10_000

/** One server process of a local cluster, with its log in a file. */
export class ServerProcess {
  readonly name: string
  readonly logPath: string
  readonly #child: ChildProcess

  private constructor(name: string, logPath: string, child: ChildProcess) {
    this.name = name
    this.logPath = logPath
    this.#child = child
  }

  /** Settles when the program has printed its `READY` line; gives the fields of that line. @throws ERR_PLUGIN_START with the end of its log */
  static async start(
    program: string,
    argv: readonly string[],
    options: { readonly name: string; readonly logDir: string },
  ): Promise<[server: ServerProcess, ready: Readonly<Record<string, string>>]> {
    const logPath = join(options.logDir, `${options.name}.log`)
    const log = openSync(logPath, 'a')
    const stdio: StdioOptions = ['ignore', 'pipe', log]
    const child = spawn(process.execPath, [programPath(program), ...argv], { stdio })
    closeSync(log)
    const server = new ServerProcess(options.name, logPath, child)
    try {
      return [server, await server.#ready()]
    } catch (error) {
      await server.stop()
      throw error
    }
  }

  get pid(): number {
    return this.#child.pid!
  }

  /** Asks it to stop, and makes it after a while. */
  async stop(): Promise<void> {
    if (this.#child.exitCode != null || this.#child.signalCode != null) return
    const exited = once(this.#child, 'exit')
    this.#child.kill('SIGTERM')
    const force = setTimeout(() => this.#child.kill('SIGKILL'), STOP_TIMEOUT_MS)
    await exited
    clearTimeout(force)
  }

  async #ready(): Promise<Record<string, string>> {
    const lines = createInterface({ input: this.#child.stdout! })
    const timer = setTimeout(() => {
      lines.close()
    }, READY_TIMEOUT_MS)
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
    throw new MooncakeError('ERR_PLUGIN_START', `${this.name} did not start; its log ends with:\n${tail}`)
  }
}

export function programPath(program: string): string {
  return fileURLToPath(new URL(`../bin/${program}.js`, import.meta.url))
}
