import { hasCode, MooncakeError } from '@mooncake-ts/core'
import type { Clock, Completion, MemoryProvider, Region, RemoteView, Transport } from '@mooncake-ts/core'
import { mapRegion, type HostRegion } from '@mooncake-ts/memory'
import type { ObjectView } from '../api/view.js'
import type { TieredBackend } from '../local/tiered-backend.js'
import type { PeerClient } from '../peers/peer-client.js'
import { PinKeeper } from '../peers/pin-keeper.js'
import type { WireRegion } from '../peers/protocol.js'
import type { Unannounced } from '../peers/unannounced.js'
import type { Router } from '../routes/router.js'
import type { Deadline } from './deadline.js'
import { OpenViews } from './open-view.js'
import type { Reader } from './reader.js'

/** An upsert may come between asking for the length of an object and reading it. */
const COPY_ATTEMPTS_MAX = 3

export interface ViewerInit {
  readonly backend: TieredBackend
  readonly unannounced: Unannounced
  readonly memory: MemoryProvider
  readonly clock: Clock
  readonly router: Router
  readonly reader: Reader
  readonly transports: readonly Transport[]
  readonly peer: (endpoint: string) => PeerClient
  readonly nodeId: string
  readonly viewsMax: number
}

/**
 * Shows objects where they lie: in this node's own tiers, else in those of an owner whose memory a transport
 * can show, which keeps the object in its place as long as this node renews its pin. What cannot be shown is
 * copied.
 */
export class Viewer {
  readonly #init: ViewerInit
  readonly #views = new OpenViews()
  /** By endpoint, while there is a pin. */
  readonly #keepers = new Map<string, PinKeeper>()
  readonly #shows: boolean
  /** Regions of this node, mapped once more for reading only. */
  readonly #mapped = new WeakMap<Region, HostRegion>()

  constructor(init: ViewerInit) {
    this.#init = init
    this.#shows = init.transports.some(transport => transport.view != null)
  }

  /** Undefined for a miss. @throws ERR_OVERLOADED, what a get throws */
  async view(key: string, deadline: Deadline): Promise<ObjectView | undefined> {
    const { viewsMax } = this.#init
    if (this.#views.size >= viewsMax) {
      throw new MooncakeError('ERR_OVERLOADED', `${viewsMax} views are open: dispose of some`)
    }
    await this.#init.unannounced.answered([{ key }], deadline.signal)
    return (
      this.#viewHere(key) ?? (await this.#viewShared(key, deadline)) ?? (await this.#viewCopy(key, deadline))
    )
  }

  /** Disposes of every view. */
  close(): void {
    this.#views.close()
  }

  #viewHere(key: string): ObjectView | undefined {
    const lease = this.#init.backend.acquire(key)
    if (lease == null) return undefined
    try {
      const mapped = lease.slice == null ? undefined : this.#mappedForReading(lease.slice.region)
      if (mapped == null) {
        lease.release()
        return undefined
      }
      const bytes = mapped.view(lease.slice!.offset, lease.meta.byteLength)
      const release = (): void => {
        lease.release()
      }
      return this.#views.open({ key, bytes, source: 'local', isValid: () => true, release })
    } catch (error) {
      lease.release()
      throw error
    }
  }

  /** Undefined where the memory has no descriptor. */
  #mappedForReading(region: Region): HostRegion | undefined {
    const known = this.#mapped.get(region)
    const { fd = -1 } = region as Partial<HostRegion>
    if (known != null || fd < 0) return known
    const mapped = mapRegion(fd, region.byteLength)
    this.#mapped.set(region, mapped)
    region.onClose(() => {
      mapped.close()
    })
    return mapped
  }

  async #viewShared(key: string, deadline: Deadline): Promise<ObjectView | undefined> {
    if (!this.#shows) return undefined
    const { router, nodeId, peer } = this.#init
    const route = router.cached(key) ?? (await router.lookUp([key], deadline.signal))[0]
    for (const replica of route?.replicas ?? []) {
      if (replica.nodeId === nodeId) continue
      const view = await this.#viewAt(peer(replica.rpcEndpoint), key, deadline)
      if (view != null) return view
    }
    return undefined
  }

  /** Undefined where this owner cannot; then another may, or a copy has to do. */
  async #viewAt(peer: PeerClient, key: string, deadline: Deadline): Promise<ObjectView | undefined> {
    const { signal } = deadline
    try {
      const [pinned] = await peer.pinKeys([key], { signal, deadlineMs: deadline.remainingMs() })
      const { operationId, region, byteLength = 0, leaseMs = 0 } = pinned ?? {}
      if (operationId == null || region == null) return undefined
      const pin = { key, operationId }
      const keeper = this.#keeper(peer)
      keeper.keep(pin, leaseMs)
      try {
        const shown = await this.#show(region, byteLength, signal)
        if (shown != null) {
          const release = (): void => {
            keeper.letGo(pin)
          }
          const { bytes } = shown
          return this.#views.open({ key, bytes, source: 'shared', isValid: () => shown.valid, release })
        }
      } catch {
        // Shown or not: the pin goes, and a copy says what is wrong.
      }
      keeper.letGo(pin)
    } catch {
      // The next replica, or the copy, which says what is wrong.
    }
    signal.throwIfAborted()
    return undefined
  }

  async #show(region: WireRegion, byteLength: number, signal: AbortSignal): Promise<RemoteView | undefined> {
    for (const transport of this.#init.transports) {
      const window = region.windows.find(w => w.scheme === transport.scheme && transport.reaches(w))
      if (window != null && transport.view != null) {
        return await transport.view({ window, offset: 0, byteLength }, { signal })
      }
    }
    return undefined
  }

  #keeper(peer: PeerClient): PinKeeper {
    let keeper = this.#keepers.get(peer.endpoint)
    if (keeper == null) {
      keeper = new PinKeeper(peer, this.#init.clock, () => this.#keepers.delete(peer.endpoint))
      this.#keepers.set(peer.endpoint, keeper)
    }
    return keeper
  }

  async #viewCopy(key: string, deadline: Deadline): Promise<ObjectView | undefined> {
    const { backend, router, memory, reader } = this.#init
    for (let attempt = 1; ; attempt++) {
      const known =
        backend.peek(key) ?? router.cached(key) ?? (await router.lookUp([key], deadline.signal))[0]
      if (known == null) return undefined
      const region = memory.createRegion({ byteLength: Math.max(1, known.byteLength), label: 'view' })
      try {
        const into = { region, offset: 0, byteLength: known.byteLength }
        let read: Completion | undefined
        await reader.run([key], [into], { deadline, verify: false }, completion => {
          read = completion
        })
        const { bytes: byteLength, error } = read!
        if (error == null) {
          const bytes = region.view(0, byteLength)
          return this.#views.open({ key, bytes, source: 'copy', isValid: () => true, release: () => {} })
        }
        if (hasCode(error, 'ERR_OBJECT_NOT_FOUND')) return undefined
        if (!hasCode(error, 'ERR_BUFFER_OVERFLOW') || attempt === COPY_ATTEMPTS_MAX) throw error
        router.forget(key)
      } finally {
        region.close() // The view keeps the memory.
      }
    }
  }
}
