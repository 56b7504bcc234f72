import { assertWithin, MooncakeError } from '@mooncake-ts/core'
import { mapRegion } from '@mooncake-ts/memory'
import type { Channel } from './channel.js'
import {
  decodeCancels,
  decodeGone,
  decodeMap,
  decodePulls,
  decodeRegion,
  decodeStage,
  decodeUnstage,
  encodeDones,
  encodeGone,
  encodeRegion,
  MessageType,
  type Done,
  type Pull,
} from './codec.js'
import type { Copier } from './copier.js'
import { authorized, type ExposedRange, type Exposures } from './exposures.js'
import type { TransportMetrics } from './metrics.js'
import type { ResolvedOptions } from './options.js'
import { fdOf, MappedRegions, type RegionClosings } from './regions.js'
import { StageService } from './stage-service.js'

export interface ServiceDeps {
  readonly options: ResolvedOptions
  readonly exposures: Exposures
  readonly closings: RegionClosings
  readonly copier: Copier
  readonly metrics: TransportMetrics
}

/**
 * What this process does for one peer: hands over the memory that its windows lie in, copies into them out of
 * the peer's memory, and brings private bytes to where the peer can read them.
 */
export class Service {
  readonly #channel: Channel
  readonly #deps: ServiceDeps
  readonly #mapped: MappedRegions
  readonly #stages: StageService
  /** Regions that the peer was handed. */
  readonly #handedOver = new Map<number, Disposable>()
  /** Pulls that have not ended; they own their copies. */
  readonly #pulls = new Map<number, Pull>()
  #dones: Done[] = []

  constructor(channel: Channel, deps: ServiceDeps) {
    const { exposures, copier, options } = deps
    this.#channel = channel
    this.#deps = deps
    this.#mapped = new MappedRegions(options.regionsMaxPerPeer)
    this.#stages = new StageService(channel, exposures, copier, options.stagingBytesPerPeer)
    channel.onMessage = (message, descriptors) => {
      this.#serve(message, descriptors)
    }
    void channel.closed.then(reason => {
      this.#end(reason)
    })
  }

  /** @throws what makes the message nonsense */
  #serve(message: Buffer, [descriptor]: readonly number[]): void {
    switch (message[0]) {
      case MessageType.map:
        this.#handOver(decodeMap(message))
        break
      case MessageType.region: {
        const { regionId, byteLength } = decodeRegion(message)
        // Without a descriptor it was closed before the message left, and pulls out of it fail.
        if (descriptor != null) this.#mapped.add(regionId, mapRegion(descriptor, byteLength))
        break
      }
      case MessageType.gone:
        this.#mapped.drop(decodeGone(message))
        break
      case MessageType.pull:
        for (const pull of decodePulls(message)) this.#pull(pull)
        this.#deps.copier.pump()
        break
      case MessageType.cancel:
        this.#cancel(decodeCancels(message))
        break
      case MessageType.stage:
        this.#stages.stage(decodeStage(message))
        break
      case MessageType.unstage:
        this.#stages.unstage(decodeUnstage(message))
        break
      default:
        throw new MooncakeError('ERR_PROTOCOL', `a message of type ${message[0]}`)
    }
  }

  #handOver({ regionId, key }: { readonly regionId: number; readonly key: Uint8Array }): void {
    const region = this.#deps.exposures.authorize('read', key, 0, 0)?.region
    if (region == null || region.id !== regionId) {
      this.#channel.send(encodeGone(regionId))
      return
    }
    const descriptor = {
      get fd() {
        return fdOf(region)
      },
    }
    this.#channel.send(encodeRegion(regionId, region.byteLength), descriptor)
    if (this.#handedOver.has(regionId)) return
    const closing = this.#deps.closings.watch(region, () => {
      this.#handedOver.delete(regionId)
      this.#channel.send(encodeGone(regionId))
    })
    this.#handedOver.set(regionId, closing)
  }

  #pull(pull: Pull): void {
    const { id, key, windowOffset, regionId, regionOffset, byteLength } = pull
    const { options, copier, exposures, metrics } = this.#deps
    if (this.#pulls.size >= options.queuedOpsMaxPerPeer) {
      this.#done(id, new MooncakeError('ERR_OVERLOADED'))
      return
    }
    this.#pulls.set(id, pull)
    let range: ExposedRange | undefined
    copier.add({
      owner: pull,
      byteLength,
      begin: () => {
        const region = this.#mapped.get(regionId)
        if (region == null) throw new MooncakeError('ERR_REGION_CLOSED')
        assertWithin(region, regionOffset, byteLength)
        range = authorized(exposures, 'write', key, windowOffset, byteLength)
        range.retain()
        const to = { region: range.region, offset: range.offset + windowOffset, byteLength }
        return { from: { region, offset: regionOffset, byteLength }, to }
      },
      end: error => {
        range?.release()
        if (error == null) metrics.moved('target', 'write', byteLength)
        else metrics.failed('target', error)
        this.#done(id, error)
      },
      takenBack: () => {
        this.#done(id, new MooncakeError('ERR_TRANSFER_FAIL'))
      },
    })
  }

  #cancel(ids: readonly number[]): void {
    const unwanted = new Set<object | undefined>(ids.map(id => this.#pulls.get(id)))
    this.#deps.copier.takeBack(owner => unwanted.has(owner))
  }

  /** Tells the peer how a pull has ended; those that end together in one message. */
  #done(id: number, error: MooncakeError | undefined): void {
    this.#pulls.delete(id)
    if (this.#dones.push({ id, error }) > 1) return
    queueMicrotask(() => {
      for (const message of encodeDones(this.#dones)) this.#channel.send(message)
      this.#dones = []
    })
  }

  /** The peer is gone. What is being copied ends by itself. */
  #end(reason: MooncakeError): void {
    for (const closing of this.#handedOver.values()) closing[Symbol.dispose]()
    this.#handedOver.clear()
    this.#cancel([...this.#pulls.keys()])
    this.#stages.close(reason)
    this.#mapped.clear()
  }
}
