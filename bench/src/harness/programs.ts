import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createConnection, createServer, type AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'

const STOP_MS = 10_000
const POLL_MS = 50
/** Of what a program says on stderr; told where it fails. */
const COMPLAINT_CHARACTERS = 2000

export interface ProgramOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
}

/** A child process that does not outlive the harness. */
export class Program implements AsyncDisposable {
  readonly child: ChildProcess
  readonly #exited: Promise<unknown>
  readonly #kill = (): void => void this.child.kill('SIGKILL')
  #complaint = ''

  constructor(path: string, args: ReadonlyArray<string | number>, { env = {}, cwd }: ProgramOptions = {}) {
    this.child = spawn(path, args.map(String), {
      env: { ...process.env, ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
      ...(cwd != null && { cwd }),
    })
    this.#exited = new Promise(resolve => {
      this.child.once('exit', resolve).once('error', error => {
        this.#complaint += error.message
        resolve(undefined)
      })
    })
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.#complaint = (this.#complaint + text).slice(-COMPLAINT_CHARACTERS)
    })
    this.child.stdin!.on('error', () => {}) // The exit says it.
    process.once('exit', this.#kill)
  }

  get pid(): number {
    return this.child.pid!
  }

  get complaint(): string {
    return this.#complaint
  }

  /** Resolves when it has ended. */
  get exited(): Promise<unknown> {
    return this.#exited
  }

  /** Asks by the end of its input, then by signals. */
  async [Symbol.asyncDispose](): Promise<void> {
    process.off('exit', this.#kill)
    this.child.stdin!.end()
    this.child.kill('SIGTERM')
    const timer = setTimeout(this.#kill, STOP_MS)
    await this.#exited
    clearTimeout(timer)
  }
}

/** A program that answers each line of its input with a line of its output, one at a time. */
export class LineProgram implements AsyncDisposable {
  readonly #path: string
  readonly #program: Program
  readonly #lines: AsyncIterator<string>
  #last: Promise<unknown> = Promise.resolve()

  constructor(path: string, args: ReadonlyArray<string | number> = [], options: ProgramOptions = {}) {
    this.#path = path
    this.#program = new Program(path, args, options)
    this.#program.child.stdout!.resume() // Lines wait in the interface, not in the pipe.
    this.#lines = createInterface({ input: this.#program.child.stdout! })[Symbol.asyncIterator]()
  }

  /** @throws where it ends or stays silent instead */
  async ask(...words: ReadonlyArray<string | number>): Promise<string> {
    const answer = this.#last.then(() => {
      this.#program.child.stdin!.write(`${words.join(' ')}\n`)
      return this.next()
    })
    this.#last = answer.catch(() => {})
    return await answer
  }

  /** A line that it says by itself. */
  async next(): Promise<string> {
    const { done, value } = await this.#lines.next()
    if (done !== true) return value
    await this.#program.exited
    throw new Error(`${this.#path} has ended: ${this.#program.complaint.trim()}`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program[Symbol.asyncDispose]()
  }
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** @throws where the program has ended, or listens not in time */
export async function untilListening(program: Program, port: number, deadlineMs = 20_000): Promise<void> {
  const endMs = performance.now() + deadlineMs
  while (performance.now() < endMs && program.child.exitCode == null) {
    const socket = createConnection({ port, host: '127.0.0.1' })
    const connected = await new Promise<boolean>(resolve => {
      socket.once('connect', () => {
        resolve(true)
      })
      socket.once('error', () => {
        resolve(false)
      })
    })
    socket.destroy()
    if (connected) return
    await sleep(POLL_MS)
  }
  throw new Error(`${program.child.spawnfile} does not listen on port ${port}: ${program.complaint.trim()}`)
}
