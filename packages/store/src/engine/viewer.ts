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
import { groupBy } from './chunks.js'
import type { Deadline } from './deadline.js'
import { OpenViews } from './open-view.js'
import type { Reader } from './reader.js'

/** An upsert may come between asking for the length of an object and reading it. */
const COPY_ATTEMPTS_MAX = 3

interface Wanted {
  readonly key: string
  view: ObjectView | undefined
  /** Endpoints of owners that were not asked yet. */
  left: string[]
}

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
  /** Of transports that can show memory. */
  readonly #schemes: readonly string[]
  /** Regions of this node, mapped once more for reading only. */
  readonly #mapped = new WeakMap<Region, HostRegion>()

  constructor(init: ViewerInit) {
    this.#init = init
    this.#schemes = init.transports.filter(({ view }) => view != null).map(({ scheme }) => scheme)
  }

  /** Undefined for a miss; in the order of the keys. @throws ERR_OVERLOADED, what a get throws */
  async views(keys: readonly string[], deadline: Deadline): Promise<Array<ObjectView | undefined>> {
    const { viewsMax, unannounced } = this.#init
    if (this.#views.size + keys.length > viewsMax) {
      throw new MooncakeError('ERR_OVERLOADED', `${viewsMax} views are open: dispose of some`)
    }
    const wanted = keys.map((key): Wanted => ({ key, view: undefined, left: [] }))
    try {
      const viewHere = (): void => {
        for (const each of wanted) each.view = this.#viewHere(each.key)
      }
      await unannounced.whenAnswered(wanted, viewHere, deadline.signal)
      if (this.#schemes.length > 0) await this.#viewShared(wanted.filter(isMissing), deadline)
      const copied = wanted.filter(isMissing).map(async each => {
        each.view = await this.#viewCopy(each.key, deadline)
      })
      for (const result of await Promise.allSettled(copied))
        if (result.status === 'rejected') throw result.reason
      return wanted.map(each => each.view)
    } catch (error) {
      for (const { view } of wanted) view?.[Symbol.dispose]()
      throw error
    }
  }

  /** Disposes of every view. */
  close(): void {
    this.#views.close()
    for (const keeper of [...this.#keepers.values()]) keeper.flush()
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

  /** At the first owner that can, as many at a time as it has. */
  async #viewShared(wanted: readonly Wanted[], deadline: Deadline): Promise<void> {
    const { router, nodeId, peer } = this.#init
    const routes = new Map(wanted.map(({ key }) => [key, router.cached(key)]))
    const unknown = [...routes.keys()].filter(key => routes.get(key) == null)
    const found = unknown.length === 0 ? [] : await router.lookUp(unknown, deadline.signal)
    unknown.forEach((key, index) => routes.set(key, found[index]))
    for (const each of wanted) {
      const replicas = routes.get(each.key)?.replicas ?? []
      each.left = replicas.filter(replica => replica.nodeId !== nodeId).map(replica => replica.rpcEndpoint)
    }
    for (let left = wanted; ; left = left.filter(isMissing)) {
      const byOwner = groupBy(left, each => each.left.shift())
      byOwner.delete(undefined)
      if (byOwner.size === 0) return
      const owners = [...byOwner]
      await Promise.all(owners.map(([endpoint, some]) => this.#viewAt(peer(endpoint!), some, deadline)))
      deadline.signal.throwIfAborted()
    }
  }

  /** What this owner cannot show another may, or a copy has to do, which also says what is wrong. */
  async #viewAt(peer: PeerClient, wanted: readonly Wanted[], deadline: Deadline): Promise<void> {
    const { signal } = deadline
    const keeper = this.#keeper(peer)
    const request = {
      keys: wanted.map(each => each.key),
      schemes: [...this.#schemes],
      letGo: keeper.takeLoose(),
    }
    let pins: Awaited<ReturnType<PeerClient['pinKeys']>>
    try {
      pins = await peer.pinKeys(request, { signal, deadlineMs: deadline.remainingMs() })
    } catch {
      return
    }
    await Promise.all(
      wanted.map(async (each, index) => {
        const { operationId, region, byteLength = 0, leaseMs = 0 } = pins[index] ?? {}
        if (operationId == null || region == null) return
        const { key } = each
        const pin = { key, operationId }
        keeper.keep(pin, leaseMs)
        const release = (): void => {
          keeper.letGo(pin)
        }
        const shown = await this.#show(region, byteLength, signal).catch(() => undefined)
        if (shown == null) release()
        else {
          const { bytes } = shown
          each.view = this.#views.open({ key, bytes, source: 'shared', isValid: () => shown.valid, release })
        }
      }),
    )
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

function isMissing({ view }: Wanted): boolean {
  return view == null
}
