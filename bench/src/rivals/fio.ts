import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Contender } from '../harness/compare.js'

const run = promisify(execFile)

export interface FioSetting {
  readonly operation: 'read' | 'write'
  readonly blockBytes: number
  /** Operations in flight. */
  readonly depth: number
  /** So many are posted together when so many have ended, rather than each as another ends. */
  readonly batch?: number
}

interface FioReport {
  readonly jobs: ReadonlyArray<Readonly<Record<'read' | 'write', { readonly bw_bytes: number }>>>
}

/** The usual measure of a disk: it moves blocks through io_uring around the page cache, and nothing else. */
export class Fio {
  readonly #path: string
  readonly #fileBytes: number

  private constructor(path: string, fileBytes: number) {
    this.#path = path
    this.#fileBytes = fileBytes
  }

  /** Writes the file that is read later. Undefined where fio is not installed. */
  static async prepare(directory: string, fileBytes: number): Promise<Fio | undefined> {
    try {
      await run('fio', ['--version'])
    } catch {
      return undefined
    }
    const fio = new Fio(join(directory, 'fio'), fileBytes)
    await fio.#run(['--rw=write', '--bs=1m', '--iodepth=32'])
    return fio
  }

  /** GB/s of random blocks. */
  contender({ operation, blockBytes, depth, batch }: FioSetting): Contender {
    return async durationMs => {
      const args = [`--rw=rand${operation}`, `--bs=${blockBytes}`, `--iodepth=${depth}`]
      if (batch != null) args.push(`--iodepth_batch_submit=${batch}`, `--iodepth_batch_complete_min=${batch}`)
      const { jobs } = await this.#run([...args, '--time_based', `--runtime=${durationMs}ms`])
      return { value: jobs[0]![operation].bw_bytes / 1e9 }
    }
  }

  async #run(args: readonly string[]): Promise<FioReport> {
    const common = [
      '--name=bench',
      `--filename=${this.#path}`,
      `--size=${this.#fileBytes}`,
      '--ioengine=io_uring',
    ]
    const { stdout } = await run('fio', [...common, '--direct=1', '--output-format=json', ...args])
    return JSON.parse(stdout) as FioReport
  }
}
