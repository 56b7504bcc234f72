import { hasCode, MooncakeError } from '@mooncake-ts/core'
import type { Clock, Completion, Logger, MemoryProvider, ReadRoute } from '@mooncake-ts/core'
import type { Region, RemoteView, Transport } from '@mooncake-ts/core'
import { mapRegion, type HostRegion } from '@mooncake-ts/memory'
import type { ObjectView } from '../api/view.js'
import type { TieredBackend } from '../local/tiered-backend.js'
import { NearViews, type NearViewer } from '../near/near-views.js'
import type { Neighbours } from '../near/neighbours.js'
import type { PeerClient } from '../peers/peer-client.js'
import { PinKeeper, PINS_PER_CALL_MAX, type Pin } from '../peers/pin-keeper.js'
import type { WireRegion } from '../peers/protocol.js'
import type { Unannounced } from '../peers/unannounced.js'
import type { Router } from '../routes/router.js'
import { windowFor } from '../transfer/window-for.js'
import { chunksOf, groupBy } from './chunks.js'
import type { Deadline } from './deadline.js'
import { OpenViews, type OpenViewInit } from './open-view.js'
import type { Reader } from './reader.js'

/** Copies begin at cache lines, whatever is read through them. */
const COPY_ALIGN_BYTES = 64

/** An upsert may come between asking for the length of an object and reading it. */
const COPY_ATTEMPTS_MAX = 3

interface Wanted {
  readonly key: string
  view: ObjectView | undefined
  route: ReadRoute | undefined
  /** Endpoints of owners that were not asked yet. */
  left: string[]
}

export interface ViewerInit {
  readonly backend: TieredBackend
  readonly unannounced: Unannounced
  readonly memory: MemoryProvider
  readonly clock: Clock
  readonly logger: Logger
  readonly router: Router
  readonly reader: Reader
  readonly neighbours: Neighbours
  readonly transports: readonly Transport[]
  readonly peer: (endpoint: string) => PeerClient
  readonly nodeId: string
  readonly viewsMax: number
}

/**
 * Shows objects where they lie: in this node's own tiers, else in those of an owner whose memory a transport
 * can show, which keeps the object in its place: a neighbour because it sees a pin in memory of this process, others
 * as long as this node renews a pin that it has asked for. What cannot be shown is copied.
 */
export class Viewer {
  readonly #init: ViewerInit
  readonly #views = new OpenViews()
  readonly #near: NearViews
  /** Views that calls under way may still open. */
  #opening = 0
  /** By endpoint, while there is a pin. */
  readonly #keepers = new Map<string, PinKeeper>()
  /** Of transports that can show memory. */
  readonly #schemes: readonly string[]
  /** Regions of this node, mapped once more for reading only. */
  readonly #mapped = new WeakMap<Region, HostRegion>()

  constructor(init: ViewerInit) {
    this.#init = init
    this.#near = new NearViews(init)
    this.#schemes = init.transports.filter(({ view }) => view != null).map(({ scheme }) => scheme)
  }

  /** Undefined for a miss; in the order of the keys. @throws ERR_OVERLOADED, what a get throws */
  async views(keys: readonly string[], deadline: Deadline): Promise<Array<ObjectView | undefined>> {
    const { viewsMax, unannounced } = this.#init
    if (this.#views.size + this.#opening + keys.length > viewsMax) {
      throw new MooncakeError('ERR_OVERLOADED', `${viewsMax} views are open: dispose of some`)
    }
    this.#opening += keys.length
    const wanted = keys.map((key): Wanted => ({ key, view: undefined, route: undefined, left: [] }))
    try {
      const viewHere = (): void => {
        for (const each of wanted) each.view = this.#viewHere(each.key)
      }
      await unannounced.whenAnswered(wanted, viewHere, deadline.signal)
      await this.#findRoutes(wanted.filter(isMissing), deadline)
      if (this.#schemes.length > 0) await this.#viewShared(wanted.filter(isMissing), deadline)
      await this.#viewCopies(wanted.filter(isMissing), deadline)
      return wanted.map(each => each.view)
    } catch (error) {
      for (const { view } of wanted) view?.[Symbol.dispose]()
      throw error
    } finally {
      this.#opening -= wanted.filter(isMissing).length
    }
  }

  /** Disposes of every view. */
  close(): void {
    this.#views.close()
    this.#near.close()
    for (const keeper of [...this.#keepers.values()]) keeper.flush()
  }

  #open(init: OpenViewInit): ObjectView {
    this.#opening--
    return this.#views.open(init)
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
      return this.#open({ key, bytes, source: 'local', isValid: () => true, release })
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

  /** From the cache, and of all others that are not here with one question to the directory. */
  async #findRoutes(wanted: readonly Wanted[], { signal }: Deadline): Promise<void> {
    const { backend, router } = this.#init
    for (const each of wanted) each.route = router.cached(each.key)
    const elsewhere = wanted.filter(({ key, route }) => route == null && !backend.has(key))
    const unknown = groupBy(elsewhere, ({ key }) => key)
    if (unknown.size === 0) return
    const found = await router.lookUp([...unknown.keys()], signal)
    for (const [index, same] of [...unknown.values()].entries())
      for (const each of same) each.route = found[index]
  }

  /** At the first owner that can, as many at a time as it has. */
  async #viewShared(wanted: readonly Wanted[], deadline: Deadline): Promise<void> {
    const { nodeId, peer } = this.#init
    for (const each of wanted) {
      const replicas = each.route?.replicas ?? []
      each.left = replicas.filter(replica => replica.nodeId !== nodeId).map(replica => replica.rpcEndpoint)
    }
    for (let left = wanted; ; left = left.filter(isMissing)) {
      const byOwner = groupBy(left, each => each.left.shift())
      byOwner.delete(undefined)
      if (byOwner.size === 0) return
      const calls: Promise<void>[] = []
      for (const [endpoint, owned] of byOwner) {
        for (let at = 0; at < owned.length; at += PINS_PER_CALL_MAX)
          calls.push(this.#viewAt(peer(endpoint!), owned.slice(at, at + PINS_PER_CALL_MAX), deadline))
      }
      await Promise.all(calls)
      deadline.signal.throwIfAborted()
    }
  }

  /** What this owner cannot show another may, or a copy has to do, which also says what is wrong. */
  async #viewAt(peer: PeerClient, wanted: readonly Wanted[], deadline: Deadline): Promise<void> {
    const viewNear = this.#near.at(peer)
    if (viewNear != null) {
      await Promise.all(wanted.map(each => this.#viewNear(viewNear, each, deadline.signal)))
    }
    const left = wanted.filter(isMissing)
    if (left.length > 0 && !deadline.signal.aborted) await this.#viewPinned(peer, left, deadline)
  }

  /** Never rejects. */
  async #viewNear(view: NearViewer, wanted: Wanted, signal: AbortSignal): Promise<void> {
    const { key } = wanted
    const shown = await view(key, signal)
    if (shown != null) wanted.view = this.#open({ key, source: 'shared', ...shown })
  }

  /** Never rejects. */
  async #viewPinned(peer: PeerClient, wanted: readonly Wanted[], deadline: Deadline): Promise<void> {
    const { signal } = deadline
    const keeper = this.#keeper(peer)
    using _asking = keeper.asking()
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
        const release = releaseOf(keeper, pin)
        const shown = await this.#show(region, byteLength, signal).catch(() => undefined)
        if (shown == null) release()
        else {
          const { bytes } = shown
          each.view = this.#open({ key, bytes, source: 'shared', isValid: () => shown.valid, release })
        }
      }),
    )
  }

  async #show(region: WireRegion, byteLength: number, signal: AbortSignal): Promise<RemoteView | undefined> {
    for (const transport of this.#init.transports) {
      const window = windowFor(transport, region)
      if (window != null && transport.view != null) {
        return await transport.view({ window, offset: 0, byteLength }, { signal })
      }
    }
    return undefined
  }

  #keeper(peer: PeerClient): PinKeeper {
    const { clock, logger } = this.#init
    const { endpoint } = peer
    let keeper = this.#keepers.get(endpoint)
    if (keeper == null) {
      const created: PinKeeper = new PinKeeper(peer, clock, logger, () => {
        if (this.#keepers.get(endpoint) === created) this.#keepers.delete(endpoint)
      })
      keeper = created
      this.#keepers.set(endpoint, keeper)
    }
    return keeper
  }

  /** Undefined views for those that nobody has. Chunk by chunk, as the reader does, each in one Region. */
  async #viewCopies(wanted: readonly Wanted[], deadline: Deadline): Promise<void> {
    const { backend, router } = this.#init
    let left = wanted
    for (let attempt = 1; left.length > 0; attempt++) {
      const sized = left.flatMap(each => {
        const known = backend.peek(each.key) ?? each.route
        return known == null ? [] : [{ each, byteLength: known.byteLength }]
      })
      const chunks = chunksOf(sized, ({ byteLength }) => byteLength)
      const results = await Promise.allSettled(chunks.map(chunk => this.#copyChunk(chunk, deadline)))
      const again: Wanted[] = []
      for (const result of results) {
        if (result.status === 'rejected') throw result.reason
        for (const { each, error } of result.value) {
          if (attempt === COPY_ATTEMPTS_MAX) throw error
          router.forget(each.key)
          again.push(each)
        }
      }
      await this.#findRoutes(again, deadline)
      left = again
    }
  }

  /** Gives those that have grown meanwhile. */
  async #copyChunk(
    chunk: ReadonlyArray<{ readonly each: Wanted; readonly byteLength: number }>,
    deadline: Deadline,
  ): Promise<Array<{ readonly each: Wanted; readonly error: Error }>> {
    const { memory, reader } = this.#init
    let end = 0
    const places = chunk.map(({ byteLength }) => {
      const offset = end
      end += Math.ceil(byteLength / COPY_ALIGN_BYTES) * COPY_ALIGN_BYTES
      return { offset, byteLength }
    })
    const region = memory.createRegion({ byteLength: Math.max(1, end), label: 'view' })
    try {
      const completions = new Array<Completion>(chunk.length)
      const keys = chunk.map(({ each }) => each.key)
      const targets = places.map(place => ({ region, ...place }))
      await reader.run(keys, targets, { deadline, verify: false }, completion => {
        completions[completion.index] = completion
      })
      const grown: Array<{ each: Wanted; error: Error }> = []
      completions.forEach(({ error, bytes: byteLength }, i) => {
        const { each } = chunk[i]!
        if (error == null) {
          const { key } = each
          const bytes = region.view(places[i]!.offset, byteLength)
          each.view = this.#open({ key, bytes, source: 'copy', isValid: () => true, release: () => {} })
        } else if (hasCode(error, 'ERR_BUFFER_OVERFLOW')) grown.push({ each, error })
        else if (!hasCode(error, 'ERR_OBJECT_NOT_FOUND')) throw error
      })
      return grown
    } finally {
      region.close() // The views keep the memory.
    }
  }
}

/** Here, where it knows nothing of the bytes: it would keep them. */
function releaseOf(keeper: PinKeeper, pin: Pin): () => void {
  return () => {
    keeper.letGo(pin)
  }
}

function isMissing({ view }: Wanted): boolean {
  return view == null
}
