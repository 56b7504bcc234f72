import type { Clock, Exposure, MemoryProvider, Transport } from '@mooncake-ts/core'
import type { PeerClient } from '../peers/peer-client.js'
import type { NearView, Neighbour } from './neighbour.js'
import type { Neighbours } from './neighbours.js'
import { PinSession } from './pin-session.js'
import { PIN_LEASE_MS_MIN, PIN_TABLE_BYTES, PinTable } from './pin-table.js'

const OPEN_TIMEOUT_MS = 5000
/** An owner that takes no pins is asked again after this. */
const RETRY_MS = 10_000
/** Then the event loop turns: who asks for one view after the other waits for nothing else. */
const TURN_MS_MAX = 10

export interface NearViewsInit {
  readonly clock: Clock
  readonly memory: MemoryProvider
  readonly neighbours: Neighbours
}

/** Undefined where the owner has to be asked. Never rejects. */
export type NearViewer = (key: string, signal: AbortSignal) => Promise<NearView | undefined>

interface Known {
  session?: PinSession | undefined
  /** While it is being opened: never. */
  retryAtMs: number
}

/**
 * Views of objects of neighbours, which are not asked: they see what is looked at in memory that this process shows
 * them. An owner hears of that memory once, in the background, while everything goes its ordinary way.
 */
export class NearViews {
  readonly #init: NearViewsInit
  /** Where a neighbour is opened anew, pins at the one before stay until their views are disposed of. */
  readonly #known = new WeakMap<Neighbour, Known>()
  readonly #sessions = new Set<PinSession>()
  readonly #closing = new AbortController()
  /** When the event loop was last known to turn. */
  #turnedMs = 0

  constructor(init: NearViewsInit) {
    this.#init = init
  }

  /** Undefined where the peer has to be asked. */
  at(peer: PeerClient): NearViewer | undefined {
    const neighbour = this.#init.neighbours.at(peer)
    if (neighbour == null) return undefined
    const known = this.#known.get(neighbour) ?? { retryAtMs: 0 }
    this.#known.set(neighbour, known)
    const { session } = known
    if (session?.ended === false) {
      return async (key, signal) => {
        if (this.#init.clock.nowMs() - this.#turnedMs > TURN_MS_MAX) await this.#turn()
        return await neighbour.view(key, session, signal)
      }
    }
    if (this.#init.clock.nowMs() >= known.retryAtMs) void this.#open(peer, neighbour, known)
    return undefined
  }

  /** Gives up all pins. */
  close(): void {
    this.#closing.abort()
    for (const session of this.#sessions) session.end()
  }

  async #turn(): Promise<void> {
    await new Promise(resolve => setImmediate(resolve))
    this.#turnedMs = this.#init.clock.nowMs()
  }

  async #open(peer: PeerClient, { transport }: Neighbour, known: Known): Promise<void> {
    known.retryAtMs = Infinity
    known.session = undefined
    try {
      known.session = await this.#sessionAt(peer, transport)
    } catch {
      // It is away, or its memory cannot be mapped there: it is asked in the ordinary way.
    }
    known.retryAtMs = this.#init.clock.nowMs() + (known.session == null ? RETRY_MS : 0)
  }

  async #sessionAt(peer: PeerClient, transport: Transport): Promise<PinSession | undefined> {
    const { clock, memory } = this.#init
    const { signal } = this.#closing
    const region = memory.createRegion({ byteLength: PIN_TABLE_BYTES, label: 'pins' })
    let exposure: Exposure | undefined
    let session: PinSession | undefined
    const close = (): void => {
      void exposure?.revoke() // Its rest is of no matter: nobody writes.
      region.close()
    }
    try {
      exposure = transport.expose(region, { offset: 0, byteLength: PIN_TABLE_BYTES, access: 'read' })
      const table = new PinTable(region.view(0, PIN_TABLE_BYTES))
      const sinceMs = clock.nowMs()
      const request = { isNeighbour: true, pins: { windows: [exposure.window] } }
      const { pinLeaseMs = 0 } = await peer.openPlaces(request, { deadlineMs: OPEN_TIMEOUT_MS, signal })
      if (signal.aborted || pinLeaseMs < PIN_LEASE_MS_MIN) return undefined
      const opened: PinSession = new PinSession(clock, table, pinLeaseMs, sinceMs, () => {
        this.#sessions.delete(opened)
        close()
      })
      this.#sessions.add(opened)
      session = opened
      return opened
    } finally {
      if (session == null) close()
    }
  }
}
