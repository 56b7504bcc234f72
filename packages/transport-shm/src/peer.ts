import {
  asMooncakeError,
  MooncakeError,
  type RemoteSlice,
  type RemoteView,
  type Batch,
  type BatchOperation,
} from '@mooncake-ts/core'
import { mapRegion } from '@mooncake-ts/memory'
import type { Channel } from './channel.js'
import { decodeDones, decodeGone, decodeRegion, decodeStaged, MessageType } from './codec.js'
import type { Connected } from './connect.js'
import type { Copier } from './copier.js'
import { PRIVATE_REGION } from './grant-table.js'
import { Ids } from './ids.js'
import { Offers } from './offers.js'
import type { ResolvedOptions } from './options.js'
import { Reads } from './reads.js'
import type { RegionClosings } from './regions.js'
import { RemoteMemory } from './remote-memory.js'
import { Writes } from './writes.js'

export interface PeerDeps {
  readonly options: ResolvedOptions
  readonly closings: RegionClosings
  readonly copier: Copier
}

/** The connection to one peer whose windows we use. It ends once and for all; the next try makes another. */
export class Peer {
  readonly #channel: Channel
  readonly #deps: PeerDeps
  readonly #memory: RemoteMemory
  readonly #reads: Reads
  readonly #writes: Writes
  #receivedCount = 0

  constructor({ channel, table }: Connected, deps: PeerDeps) {
    const { options, closings, copier } = deps
    this.#channel = channel
    this.#deps = deps
    const memory = new RemoteMemory(channel, table, options.regionsMaxPerPeer)
    const offers = new Offers(channel, closings, options.regionsMaxPerPeer)
    const ids = new Ids()
    this.#memory = memory
    this.#reads = new Reads(channel, memory, copier, ids)
    const stagingBytes = options.stagingBytesPerPeer
    this.#writes = new Writes({ channel, memory, copier, offers, ids, stagingBytes })
    channel.onMessage = (message, descriptors) => {
      this.#receivedCount++
      this.#receive(message, descriptors)
      copier.pump()
      this.#writes.flush()
    }
    void channel.closed.then(reason => {
      this.#memory.close(reason)
      this.#reads.close(reason)
      this.#writes.close(reason)
    })
  }

  /** Settles, with the reason, when the connection is gone. */
  get closed(): Promise<MooncakeError> {
    return this.#channel.closed
  }

  /** Answers that the peer owes us. */
  get owed(): number {
    return this.#memory.owed + this.#reads.owed + this.#writes.owed
  }

  /** Messages that have come, so that silence can be told from slowness. */
  get receivedCount(): number {
    return this.#receivedCount
  }

  /** The operation settles whatever happens. Nothing is posted before `flush` and the copier's `pump`. */
  start(operation: BatchOperation): void {
    try {
      if (this.#channel.isClosed) throw new MooncakeError('ERR_TRANSFER_FAIL', 'The peer has gone')
      if (this.owed >= this.#deps.options.queuedOpsMaxPerPeer) throw new MooncakeError('ERR_OVERLOADED')
      if (operation.op.kind === 'read') this.#reads.start(operation)
      else this.#writes.start(operation)
    } catch (error) {
      operation.settle(asMooncakeError(error))
    }
  }

  flush(): void {
    this.#writes.flush()
  }

  /** @throws ERR_ACCESS_DENIED, ERR_NOT_SUPPORTED, ERR_TRANSFER_FAIL, the signal's reason */
  async view(remote: RemoteSlice, signal: AbortSignal): Promise<RemoteView> {
    const grant = this.#memory.find('read', remote)
    if (grant.regionId === PRIVATE_REGION) {
      throw new MooncakeError('ERR_NOT_SUPPORTED', 'The window lies in memory that no other process can map')
    }
    return await new Promise((resolve, reject) => {
      const abort = (): void => {
        this.#memory.takeBack(signal)
      }
      signal.addEventListener('abort', abort, { once: true })
      const ended = (): void => {
        signal.removeEventListener('abort', abort)
      }
      this.#memory.whenMapped(grant, remote.window.key, {
        owner: signal,
        mapped: region => {
          ended()
          try {
            const bytes = region.view(grant.offset + remote.offset, remote.byteLength)
            resolve(this.#memory.viewOf(grant, bytes))
          } catch (error) {
            reject(asMooncakeError(error))
          }
        },
        failed: error => {
          ended()
          reject(error)
        },
        takenBack: () => {
          reject(signal.reason as Error)
        },
      })
    })
  }

  /** Gives up what of a batch has not begun. What has begun settles later. */
  takeBack(batch: Batch): void {
    this.#memory.takeBack(batch)
    this.#reads.takeBack(batch)
    this.#writes.takeBack(batch)
  }

  hasPullsOf(batch: Batch): boolean {
    return this.#writes.hasPullsOf(batch)
  }

  close(reason: MooncakeError): void {
    this.#channel.close(reason)
  }

  #receive(message: Buffer, [descriptor]: readonly number[]): void {
    switch (message[0]) {
      case MessageType.region: {
        const { regionId, byteLength } = decodeRegion(message)
        if (descriptor == null) this.#memory.drop(regionId)
        else this.#memory.add(regionId, mapRegion(descriptor, byteLength))
        break
      }
      case MessageType.gone:
        this.#memory.drop(decodeGone(message))
        break
      case MessageType.staged:
        this.#reads.staged(decodeStaged(message))
        break
      case MessageType.done:
        for (const done of decodeDones(message)) this.#writes.done(done)
        break
      default:
        throw new MooncakeError('ERR_PROTOCOL', `a message of type ${message[0]}`)
    }
  }
}
