import type { Contender, Sample } from './compare.js'
import { buildNative } from './native.js'
import { LineProgram } from './programs.js'
import type { SuiteContext } from './suite.js'

export interface RawCopySetting {
  readonly operation: 'get' | 'put'
  readonly objectBytes: number
  readonly batch: number
}

const STREAMS = [1, 2, 4] as const
const SEND_BUFFERS = [
  { name: '512 KiB', bytes: 512 * 1024 },
  { name: 'default', bytes: 0 },
] as const

/** Two processes that do nothing but copy through sockets: what TCP can do on this machine. */
export class RawCopy implements AsyncDisposable {
  readonly #program: LineProgram

  private constructor(program: LineProgram) {
    this.#program = program
  }

  static async start({ poolBytes }: Pick<SuiteContext, 'poolBytes'>): Promise<RawCopy> {
    return new RawCopy(new LineProgram(await buildNative('raw_copy'), [poolBytes]))
  }

  /** One contender for each number of streams and size of send buffer, in GB/s. */
  ceilings({ operation, objectBytes, batch }: RawCopySetting): Record<string, Contender> {
    const cells = STREAMS.flatMap(streams => SEND_BUFFERS.map(buffer => ({ streams, buffer })))
    return Object.fromEntries(
      cells.map(({ streams, buffer }) => [
        `raw sockets, ${streams} × ${buffer.name}`,
        async durationMs =>
          parseAnswer(
            await this.#program.ask(operation, objectBytes, batch, streams, buffer.bytes, durationMs),
            1e-9,
          ),
      ]),
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program[Symbol.asyncDispose]()
  }
}

/**
 * The answer of the programs in `native` and `rivals`: units, seconds, p50 and p99 of a call in microseconds.
 *
 * @param scale what a unit is worth in the unit of the figure
 */
export function parseAnswer(line: string, scale: number): Sample {
  const [units, seconds, p50Us, p99Us] = line.trim().split(' ').map(Number)
  const value = (units! * scale) / seconds!
  if (!(value > 0)) throw new Error(`Not a measurement: ${line}`)
  return { value, p50Us: p50Us!, p99Us: p99Us! }
}
