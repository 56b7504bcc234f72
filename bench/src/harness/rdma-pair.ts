import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Host, MEMORY, TRANSPORT, type Region, type RemoteWindow, type Transport } from '@mooncake-ts/core'
import { memory } from '@mooncake-ts/memory'
import { rdma } from '@mooncake-ts/transport-rdma'
import type { RdmaTarget } from '../peers/rdma-target.js'
import type { Contender } from './compare.js'
import { measure } from './measure.js'
import type { RdmaDevice } from './rdma-devices.js'

/** A prime: no offset by whole messages or pages looks like another. */
export const PATTERN_PERIOD = 251

export interface RdmaSetting {
  readonly operation: 'read' | 'write'
  readonly messageBytes: number
  /** Messages of a batch. */
  readonly batch: number
  /** Batches under way at a time. */
  readonly depth: number
}

/** This process and another one, with a Region each, and our transport between them. */
export class RdmaPair implements AsyncDisposable {
  readonly #host: Host
  readonly #target: ChildProcess
  readonly #transport: Transport
  readonly #window: RemoteWindow
  readonly #region: Region
  #batches = 0

  private constructor(
    host: Host,
    target: ChildProcess,
    { endpoint, keyHex }: RdmaTarget,
    byteLength: number,
  ) {
    this.#host = host
    this.#target = target
    this.#transport = host.get(TRANSPORT)
    this.#window = { scheme: 'rdma', endpoint, key: Buffer.from(keyHex, 'hex') }
    this.#region = host.get(MEMORY).createRegion({ byteLength })
    const bytes = this.#region.view(0, byteLength)
    for (let i = 0; i < byteLength; i++) bytes[i] = i % PATTERN_PERIOD
  }

  static async start(from: RdmaDevice, to: RdmaDevice, byteLength: number): Promise<RdmaPair> {
    const program = fileURLToPath(new URL('../peers/rdma-target.js', import.meta.url))
    const target = fork(program, [to.name, String(byteLength)])
    const ended = once(target, 'exit').then(() => {
      throw new Error('The process with the memory has ended')
    })
    const [message] = (await Promise.race([once(target, 'message'), ended])) as [RdmaTarget]
    ended.catch(() => {})
    const host = await new Host([memory(), rdma({ deviceNames: [from.name] })]).start()
    return new RdmaPair(host, target, message, byteLength)
  }

  /** In MiB/s. Each offset here belongs to the same one there, so that the bytes can be told. */
  contender({ operation, messageBytes, batch, depth }: RdmaSetting): Contender {
    const batchBytes = messageBytes * batch
    const once = async (): Promise<number> => {
      const start = (this.#batches++ * batchBytes) % (this.#region.byteLength - batchBytes + 1)
      const at = start - (start % messageBytes)
      await this.#move(operation, at, messageBytes, batch)
      return batchBytes
    }
    return durationMs => measure(once, { durationMs, depth, scale: 2 ** -20 })
  }

  /** Empties the memory here, reads what is there, and compares. @throws where a byte differs */
  async verify(): Promise<void> {
    const { byteLength } = this.#region
    const bytes = this.#region.view(0, byteLength).fill(0xff)
    await this.#move('read', 0, byteLength, 1)
    const wrong = bytes.findIndex((byte, i) => byte !== i % PATTERN_PERIOD)
    if (wrong >= 0) throw new Error(`Byte ${wrong} is ${bytes[wrong]}, not ${wrong % PATTERN_PERIOD}`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#host.stop()
    const ended = once(this.#target, 'exit')
    this.#target.disconnect()
    await ended
  }

  #move(kind: 'read' | 'write', at: number, byteLength: number, count: number): Promise<void> {
    const batch = Array.from({ length: count }, (_, index) => {
      const offset = at + index * byteLength
      const remote = { window: this.#window, offset, byteLength }
      return { kind, local: { region: this.#region, offset, byteLength }, remote }
    })
    return new Promise((resolve, reject) => {
      this.#transport.execute(batch, { signal: AbortSignal.timeout(60_000) }).subscribe({
        next: ({ error }) => {
          if (error != null) reject(error)
        },
        error: reject,
        complete: resolve,
      })
    })
  }
}
