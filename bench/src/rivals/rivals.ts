import { existsSync } from 'node:fs'
import type { PoolSizes } from '../harness/suite.js'
import { Mooncake } from './mooncake.js'
import { Redis } from './redis.js'
import { TransferEngine } from './transfer-engine.js'

export interface RivalsOptions extends PoolSizes {
  /** Whether an absent rival may be fetched from its package registry. */
  readonly install: boolean
  readonly say: (line: string) => void
}

/** The other programs of a run: each started when a suite first asks, and stopped with the harness. */
export class Rivals implements AsyncDisposable {
  readonly #options: RivalsOptions
  readonly #running: AsyncDisposable[] = []
  readonly #absences = new Map<string, string>()
  #mooncake: Promise<Mooncake | undefined> | undefined
  #transferEngine: Promise<TransferEngine | undefined> | undefined
  #redis: Promise<Redis | undefined> | undefined

  constructor(options: RivalsOptions) {
    this.#options = options
  }

  /** Why a rival was asked for and did not run, by its name. */
  get absences(): ReadonlyMap<string, string> {
    return this.#absences
  }

  /** For a suite that looks for a rival of its own. */
  markAbsent(name: string, why: string): void {
    this.#absences.set(name, why)
  }

  /** The real Mooncake: its master, its metadata server, and two of its Python stores. */
  mooncake(): Promise<Mooncake | undefined> {
    return (this.#mooncake ??= this.#start('mooncake', Mooncake))
  }

  /** The real Mooncake's transfer engine, with no store. */
  transferEngine(): Promise<TransferEngine | undefined> {
    return (this.#transferEngine ??= this.#start('transfer_engine_bench', TransferEngine))
  }

  redis(): Promise<Redis | undefined> {
    return (this.#redis ??= this.#start('redis', Redis))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const rival of this.#running.reverse()) await rival[Symbol.asyncDispose]()
  }

  async #start<R extends AsyncDisposable>(name: string, rival: Startable<R>): Promise<R | undefined> {
    try {
      if (!existsSync(rival.program())) {
        if (!this.#options.install) {
          this.#absences.set(name, 'not installed; --install-rivals fetches it')
          return undefined
        }
        this.#options.say(`installing ${name}`)
        await rival.install()
      }
      const running = await rival.start(this.#options)
      this.#running.push(running)
      return running
    } catch (error) {
      this.#absences.set(name, (error as Error).message)
      return undefined
    }
  }
}

interface Startable<R> {
  /** Path that is there when the rival is installed. */
  program(): string
  install(): Promise<void>
  start(sizes: PoolSizes): Promise<R>
}
