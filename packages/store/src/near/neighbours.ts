import type { Clock, Directory, RemoteView, RemoteWindow, Transport } from '@mooncake-ts/core'
import type { PeerClient } from '../peers/peer-client.js'
import { windowFor } from '../transfer/window-for.js'
import { Neighbour, type NeighbourMemory } from './neighbour.js'
import { PlaceReader } from './place-table.js'
import { BEAT_MS } from './places.js'

/** For how long after a beat a table is believed at most: the owner's event loop may stand still since. */
const BELIEVED_MS_MAX = 4000
/** A node is silent for that long before removals settle without it, unless the directory says otherwise. */
const SILENCE_MS = 10_000
const OPEN_TIMEOUT_MS = 5000
/** A peer that is no neighbour is asked again after this. */
const RETRY_MS = 10_000
/** What was silent for this long is opened anew: it may have been killed and started again at the same endpoint. */
const SILENT_MS_MAX = 10_000
/** What nobody has read from for this long is forgotten, because its memory stays mapped. */
const UNUSED_MS_MAX = 60_000
/** Uses that are told before the next beat. */
const USES_MAX = 4096

interface Known {
  readonly peer: PeerClient
  neighbour?: Neighbour | undefined
  /** While it is being opened: never. */
  retryAtMs: number
  usedMs: number
}

/** Which peers are neighbours: asked once in the background, while everything goes its ordinary way. */
export class Neighbours {
  readonly #clock: Clock
  readonly #directory: Pick<Directory, 'silenceMsMax'>
  /** Those that can show memory of peers. */
  readonly #transports: readonly Transport[]
  readonly #known = new Map<string, Known>()
  readonly #closing = new AbortController()
  #looking: Disposable | undefined

  constructor(
    clock: Clock,
    transports: readonly Transport[],
    directory: Pick<Directory, 'silenceMsMax'> = {},
  ) {
    this.#clock = clock
    this.#directory = directory
    this.#transports = transports.filter(transport => transport.view != null)
  }

  /** Undefined where the peer has to be asked. */
  at(peer: PeerClient): Neighbour | undefined {
    if (this.#transports.length === 0) return undefined
    const nowMs = this.#clock.nowMs()
    const known = this.#known.get(peer.endpoint) ?? this.#add(peer, nowMs)
    known.usedMs = nowMs
    const { neighbour } = known
    if (neighbour?.outdated === false) {
      if (neighbour.useCount >= USES_MAX) this.#tellUses(peer, neighbour)
      return neighbour.isAlive(nowMs) ? neighbour : undefined
    }
    if (nowMs >= known.retryAtMs) void this.#open(known)
    return undefined
  }

  close(): void {
    this.#closing.abort()
    this.#looking?.[Symbol.dispose]()
    this.#known.clear()
  }

  #add(peer: PeerClient, nowMs: number): Known {
    const known: Known = { peer, retryAtMs: nowMs, usedMs: nowMs }
    this.#known.set(peer.endpoint, known)
    this.#looking ??= this.#clock.every(BEAT_MS, () => {
      this.#look()
    })
    return known
  }

  async #open(known: Known): Promise<void> {
    known.retryAtMs = Infinity
    known.neighbour = undefined
    const askedMs = this.#clock.nowMs()
    try {
      const memory = await this.#map(known.peer)
      if (memory != null && !this.#closing.signal.aborted)
        known.neighbour = new Neighbour(memory, askedMs, this.#believedMs)
    } catch {
      // It is away, of another version, or has memory that cannot be mapped here: it is asked in the ordinary way.
    }
    known.retryAtMs = this.#clock.nowMs() + (known.neighbour == null ? RETRY_MS : 0)
  }

  /** The directory may have heard of the owner last as long as half of its silence before the owner's last beat. */
  get #believedMs(): number {
    return Math.min(BELIEVED_MS_MAX, (this.#directory.silenceMsMax ?? SILENCE_MS) / 2)
  }

  async #map(peer: PeerClient): Promise<NeighbourMemory | undefined> {
    const options = { deadlineMs: OPEN_TIMEOUT_MS, signal: this.#closing.signal }
    let places = await peer.openPlaces({ isNeighbour: false }, options)
    const reaching = this.#transports.filter(transport => windowFor(transport, places.table) != null)
    if (reaching.length === 0) return undefined
    if (places.tableBytes == null) places = await peer.openPlaces({ isNeighbour: true }, options)
    const { table: region, tableBytes = 0, regions } = places
    for (const transport of reaching) {
      const window = windowFor(transport, region)
      const windows = regions.map(each => windowFor(transport, each)).filter(each => each != null)
      if (window == null || windows.length < regions.length) continue
      const view = await this.#view(transport, window, tableBytes)
      // Mapped now, so that no read waits for a peer that does not answer.
      for (const each of windows) await this.#view(transport, each, 0)
      return { transport, view, table: new PlaceReader(view.bytes), windows }
    }
    return undefined
  }

  async #view(transport: Transport, window: RemoteWindow, byteLength: number): Promise<RemoteView> {
    return await transport.view!({ window, offset: 0, byteLength }, { signal: this.#closing.signal })
  }

  #look(): void {
    const nowMs = this.#clock.nowMs()
    for (const [endpoint, known] of this.#known) {
      const { peer, neighbour, retryAtMs, usedMs } = known
      neighbour?.look(nowMs)
      if (neighbour != null && neighbour.useCount > 0) this.#tellUses(peer, neighbour)
      if (neighbour?.outdated === true || neighbour?.isAlive(nowMs - SILENT_MS_MAX) === false)
        known.neighbour = undefined // And its memory is unmapped.
      // Not before it may be asked again.
      if (nowMs - usedMs > UNUSED_MS_MAX && nowMs >= retryAtMs) this.#known.delete(endpoint)
    }
  }

  /** Nobody waits for it: where it is lost, objects seem a little less wanted than they are. */
  #tellUses(peer: PeerClient, neighbour: Neighbour): void {
    peer.countUses(neighbour.takeUses(), { deadlineMs: BEAT_MS }).catch(() => {})
  }
}
