import type { Batch, BatchOperation, MooncakeError, RemoteSlice, Slice } from '@mooncake-ts/core'
import type { HostRegion } from '@mooncake-ts/memory'
import type { Channel } from './channel.js'
import { encodeCancels, encodePulls, type Done, type Pull } from './codec.js'
import type { Copier } from './copier.js'
import type { Ids } from './ids.js'
import type { Offers } from './offers.js'
import { openOnly } from './reads.js'
import { fdOf } from './regions.js'
import type { RemoteMemory } from './remote-memory.js'
import { BLOCK_BYTES, Staging } from './staging.js'

/** A copy that the peer makes out of our memory. */
interface PullInFlight {
  readonly operation: BatchOperation
  readonly pull: Pull
  readonly release: () => void
}

/**
 * WRITEs to one peer. The peer makes the copy, out of our memory: so nobody else ever writes to memory of a
 * process, and one that is killed or stopped in the middle leaves nothing half written behind its back.
 */
export class Writes {
  readonly #channel: Channel
  readonly #memory: RemoteMemory
  readonly #copier: Copier
  readonly #offers: Offers
  readonly #ids: Ids
  readonly #staging: Staging
  readonly #pulls = new Map<number, PullInFlight>()
  #outbox: Pull[] = []

  constructor(init: {
    readonly channel: Channel
    readonly memory: RemoteMemory
    readonly copier: Copier
    readonly offers: Offers
    readonly ids: Ids
    readonly stagingBytes: number
  }) {
    this.#channel = init.channel
    this.#memory = init.memory
    this.#copier = init.copier
    this.#offers = init.offers
    this.#ids = init.ids
    this.#staging = new Staging(init.stagingBytes)
  }

  get owed(): number {
    return this.#pulls.size
  }

  /** @throws ERR_ACCESS_DENIED, ERR_OVERLOADED before anything is posted */
  start(operation: BatchOperation): void {
    const { local, remote } = operation.op
    this.#memory.find('write', remote)
    if (fdOf(local.region) >= 0) this.#pull(operation, local, remote, () => {})
    else this.#stage(operation)
  }

  flush(): void {
    if (this.#outbox.length === 0) return
    const pulls = this.#outbox
    this.#outbox = []
    for (const message of encodePulls(pulls)) this.#channel.send(message)
  }

  done({ id, error }: Done): void {
    const inFlight = this.#pulls.get(id)
    if (inFlight == null) return
    this.#end(inFlight)
    if (error != null && inFlight.operation.batch.signal.aborted) inFlight.operation.takeBack()
    else inFlight.operation.settle(error)
  }

  hasPullsOf(batch: Batch): boolean {
    for (const { operation } of this.#pulls.values()) if (operation.batch === batch) return true
    return false
  }

  takeBack(batch: Batch): void {
    this.#staging.takeBack(batch)
    this.flush() // The peer must have heard of a pull before it can cancel it.
    const ids = [...this.#pulls].flatMap(([id, { operation }]) => (operation.batch === batch ? [id] : []))
    for (const message of encodeCancels(ids)) this.#channel.send(message)
  }

  close(reason: MooncakeError): void {
    for (const inFlight of [...this.#pulls.values()]) {
      this.#end(inFlight)
      inFlight.operation.settle(reason)
    }
    this.#staging.close(reason)
    this.#offers.close()
  }

  #pull(operation: BatchOperation, from: Slice, remote: RemoteSlice, release: () => void): void {
    this.#offers.use(from.region as HostRegion)
    const pull = {
      id: this.#ids.next(),
      key: remote.window.key,
      windowOffset: remote.offset,
      regionId: from.region.id,
      regionOffset: from.offset,
      byteLength: from.byteLength,
    }
    this.#pulls.set(pull.id, { operation, pull, release })
    this.#outbox.push(pull)
  }

  #end({ pull, release }: PullInFlight): void {
    this.#pulls.delete(pull.id)
    this.#offers.release(pull.regionId)
    release()
  }

  /** Bytes that nobody can map go by way of memory that the peer can. */
  #stage(operation: BatchOperation): void {
    const { local, remote } = operation.op
    operation.split(Math.ceil(local.byteLength / BLOCK_BYTES))
    for (let at = 0; at < local.byteLength; at += BLOCK_BYTES) {
      const byteLength = Math.min(BLOCK_BYTES, local.byteLength - at)
      const from = { region: local.region, offset: local.offset + at, byteLength }
      const to = { window: remote.window, offset: remote.offset + at, byteLength }
      this.#stagePiece(operation, from, to)
    }
  }

  #stagePiece(operation: BatchOperation, from: Slice, to: RemoteSlice): void {
    const { byteLength } = from
    this.#staging.acquire({
      owner: operation.batch,
      failed: error => {
        operation.settle(error)
      },
      takenBack: () => {
        operation.takeBack()
      },
      take: block => {
        const release = (): void => {
          this.#staging.release(block)
        }
        const staged = { ...block, byteLength }
        this.#copier.add({
          owner: operation.batch,
          byteLength,
          begin: () => ({ from: { ...from, region: openOnly(from.region) }, to: staged }),
          end: error => {
            if (error == null) this.#pullStaged(operation, staged, to, release)
            else {
              release()
              operation.settle(error)
            }
          },
          takenBack: () => {
            release()
            operation.takeBack()
          },
        })
        this.#copier.pump()
      },
    })
  }

  #pullStaged(operation: BatchOperation, staged: Slice, to: RemoteSlice, release: () => void): void {
    if (operation.batch.signal.aborted || this.#channel.isClosed) {
      release()
      operation.takeBack()
      return
    }
    this.#pull(operation, staged, to, release)
    this.flush()
  }
}
