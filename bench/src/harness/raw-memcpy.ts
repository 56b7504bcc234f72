import type { Contender } from './compare.js'
import { buildNative } from './native.js'
import { LineProgram } from './programs.js'
import { parseAnswer } from './raw-copy.js'
import type { SuiteContext } from './suite.js'

const THREADS = [1, 2] as const

/** `memcpy` between two pools of one process: what shared memory can do on this machine. */
export class RawMemcpy implements AsyncDisposable {
  readonly #program: LineProgram

  private constructor(program: LineProgram) {
    this.#program = program
  }

  static async start({ poolBytes }: Pick<SuiteContext, 'poolBytes'>): Promise<RawMemcpy> {
    return new RawMemcpy(new LineProgram(await buildNative('raw_memcpy'), [poolBytes]))
  }

  /**
   * One contender for each number of threads, in GB/s.
   *
   * @param source what the pool is that is read: memory of the process, or a memfd as between processes
   */
  ceilings(objectBytes: number, source: 'anonymous' | 'memfd'): Record<string, Contender> {
    return Object.fromEntries(
      THREADS.map(threads => [
        `memcpy, ${threads} ${threads === 1 ? 'thread' : 'threads'}`,
        async durationMs =>
          parseAnswer(await this.#program.ask(source, objectBytes, threads, durationMs), 1e-9),
      ]),
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program[Symbol.asyncDispose]()
  }
}
