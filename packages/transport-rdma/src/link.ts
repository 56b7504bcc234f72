import { hasCode, MooncakeError, type Clock } from '@mooncake-ts/core'
import type { Device, EndpointHandle, Registered } from './device.js'
import type { Piece } from './piece.js'
import { KIND_READ, KIND_WRITE, Order } from './native.js'
import type { ResolvedOptions } from './options.js'
import type { RemoteDevice, Session } from './session.js'
import { Status } from './status.js'

export interface LinkDeps {
  readonly options: ResolvedOptions
  readonly clock: Clock
  readonly store: LinkStore
  /** Told why a link broke, or could not be made. */
  readonly onBreak: (link: Link, why: string) => void
  /** Nothing touches the local slice of the piece; for a failure also not the remote one, as far as can be known. */
  readonly onEnd: (link: Link, piece: Piece, status: number) => void
}

/** The links of a transport, of which idle ones are closed when there are too many. */
export class LinkStore {
  readonly #links = new Set<Link>()
  readonly #max: number

  constructor(max: number) {
    this.#max = max
  }

  get size(): number {
    return this.#links.size
  }

  /** @throws ERR_OVERLOADED when all are busy */
  add(link: Link): void {
    if (this.#links.size >= this.#max && this.closeIdle() == null) {
      throw new MooncakeError('ERR_OVERLOADED', `${this.#max} links are busy already`)
    }
    this.#links.add(link)
  }

  /** Makes room: the link without work that was used longest ago. */
  closeIdle(device?: Device): Link | undefined {
    let oldest: Link | undefined
    for (const each of this.#links) {
      const fits = each.idle && (device == null || each.device === device)
      if (fits && (oldest == null || each.usedMs < oldest.usedMs)) oldest = each
    }
    oldest?.close()
    return oldest
  }

  remove(link: Link): void {
    this.#links.delete(link)
  }

  sweep({ linkIdleMs, operationTimeoutMs }: ResolvedOptions, nowMs: number): void {
    for (const link of this.#links) {
      const quietMs = nowMs - link.usedMs
      if (link.idle && quietMs > linkIdleMs) link.close()
      if (link.up && !link.idle && quietMs > operationTimeoutMs) {
        link.broke(`nothing moved for ${operationTimeoutMs} ms`)
      }
    }
  }
}

/** Queue pairs of a local device, connected to those of a device of one peer: made when there is work, and again. */
export class Link {
  readonly device: Device
  /** Until then it is left out where another one is left: it broke, or could not be made. */
  pausedUntilMs = -Infinity
  usedMs = 0
  readonly #deps: LinkDeps
  readonly #session: Session
  readonly #remotes: readonly RemoteDevice[]
  /** Which of them: the next one when this one cannot be reached. */
  #remote = 0
  /** Something was moved since it was made. */
  #worked = false
  #endpoint: EndpointHandle | undefined
  #making: Promise<void> | undefined
  /** Settles when both ends of what was closed or broke are at rest. */
  #closing: Promise<void> = Promise.resolve()
  #up = false
  readonly #inFlight = new Map<number, Piece>()
  #inflightBytes = 0

  /** @param remotes in the order in which they are tried, at least one */
  constructor(device: Device, remotes: readonly RemoteDevice[], session: Session, deps: LinkDeps) {
    this.device = device
    this.#remotes = remotes
    this.#session = session
    this.#deps = deps
  }

  get up(): boolean {
    return this.#up
  }

  get inflightBytes(): number {
    return this.#inflightBytes
  }

  get idle(): boolean {
    return this.#up && this.#inFlight.size === 0
  }

  /** Its endpoint, as the peer and the session name it. */
  get id(): number | undefined {
    return this.#endpoint?.id
  }

  /** Settles when nothing of it touches memory any more. */
  get closing(): Promise<void> {
    return this.#closing
  }

  /** Settles when it is up. Rejects with ERR_TRANSFER_FAIL or ERR_OVERLOADED. */
  ready(): Promise<void> {
    if (this.#up) return Promise.resolve()
    this.#making ??= this.#make().finally(() => {
      this.#making = undefined
    })
    return this.#making
  }

  /** It is up, and every registration has this device. */
  post(pieces: readonly Piece[]): void {
    const fields = new Float64Array(pieces.length * Order.fields)
    pieces.forEach((piece, i) => {
      const id = this.device.onOperation(status => {
        this.#end(id, piece, status)
      })
      this.#inFlight.set(id, piece)
      this.#inflightBytes += piece.byteLength
      piece.attempts++
      describe(
        fields,
        i * Order.fields,
        id,
        this.#endpoint!.id,
        piece,
        piece.registration.byDevice.get(this.device)!,
      )
    })
    this.usedMs = this.#deps.clock.nowMs()
    this.device.submit(fields, pieces.length)
  }

  /** Takes back what is not posted; what is, ends by itself. */
  cancel(matches: (piece: Piece) => boolean): void {
    const ids = [...this.#inFlight].filter(([, piece]) => matches(piece)).map(([id]) => id)
    if (ids.length > 0) this.device.cancel(ids)
  }

  carries(matches: (piece: Piece) => boolean): boolean {
    for (const piece of this.#inFlight.values()) if (matches(piece)) return true
    return false
  }

  /** What is on it fails when both ends are at rest. It is made again when there is work. */
  close(): void {
    this.#take()
  }

  /** It ended without being asked to. */
  broke(why: string): void {
    if (this.#endpoint == null) return
    this.#deps.onBreak(this, why)
    // A link that worked is made again as it was; one that did not may lead to a device that is out of reach.
    if (!this.#worked) this.#remote = (this.#remote + 1) % this.#remotes.length
    this.#worked = false
    this.pausedUntilMs = this.#deps.clock.nowMs() + this.#deps.options.devicePauseMs
    this.#take()
  }

  async #make(): Promise<void> {
    await this.#closing
    const { options, store, clock } = this.#deps
    store.add(this)
    let endpoint: EndpointHandle | undefined
    try {
      endpoint = this.#endpoint = await this.#create()
      await within(options.connectTimeoutMs, clock, this.#connect(endpoint))
      if (this.#endpoint !== endpoint) throw new MooncakeError('ERR_TRANSFER_FAIL', 'The link broke')
      this.#up = true
      this.usedMs = clock.nowMs()
    } catch (error) {
      store.remove(this)
      if (this.#endpoint != null) this.broke((error as Error).message)
      else {
        this.pausedUntilMs = clock.nowMs() + options.devicePauseMs
        this.#deps.onBreak(this, (error as Error).message)
      }
      throw error
    }
  }

  /** Where the device has no room for one more, an idle link to somebody else makes place. */
  async #create(): Promise<EndpointHandle> {
    const { queuePairsPerLink, queueDepth } = this.#deps.options
    const create = (): Promise<EndpointHandle> =>
      this.device.createEndpoint(queuePairsPerLink, queueDepth, why => {
        this.broke(why)
      })
    try {
      return await create()
    } catch (error) {
      const closed = hasCode(error, 'ERR_OVERLOADED') ? this.#deps.store.closeIdle(this.device) : undefined
      if (closed == null) throw error
      await closed.closing
      return await create()
    }
  }

  async #connect(endpoint: EndpointHandle): Promise<void> {
    const info = await this.#session.connectLink(endpoint.id, this.#remotes[this.#remote]!, endpoint.info)
    await this.device.connectEndpoint(endpoint.id, info)
  }

  /** Both ends are brought to rest; the peer's too, so that nothing of ours is still on its way there. */
  #take(): void {
    const endpoint = this.#endpoint
    if (endpoint == null) return
    this.#endpoint = undefined
    this.#up = false
    this.#deps.store.remove(this)
    this.device.closeEndpoint(endpoint.id)
    const { options, clock } = this.#deps
    const there = within(options.abortGraceMs, clock, this.#session.closeLink(endpoint.id)).catch(() => {
      // A peer that does not answer has lost its connection, or will: that brings its end to rest.
    })
    this.#closing = Promise.all([this.#closing, endpoint.closed, there]).then(() => {})
  }

  #end(id: number, piece: Piece, status: number): void {
    this.#inFlight.delete(id)
    this.#inflightBytes -= piece.byteLength
    this.#worked ||= status === Status.done
    this.usedMs = this.#deps.clock.nowMs()
    this.#deps.onEnd(this, piece, status)
  }
}

function describe(
  fields: Float64Array,
  at: number,
  id: number,
  endpoint: number,
  { operation, key, localOffset, offset, byteLength }: Piece,
  { id: registered }: Registered,
): void {
  const { op } = operation
  fields[at + Order.id] = id
  fields[at + Order.endpoint] = endpoint
  fields[at + Order.kind] = op.kind === 'read' ? KIND_READ : KIND_WRITE
  fields[at + Order.registration] = registered
  fields[at + Order.localOffset] = localOffset
  fields[at + Order.byteLength] = byteLength
  fields[at + Order.remoteOffset] = op.remote.offset + offset
  fields[at + Order.wholeOffset] = op.remote.offset
  fields[at + Order.wholeBytes] = op.local.byteLength
  fields[at + Order.slot] = key.slot
  fields.set(key.token, at + Order.token)
}

/** @throws ERR_TRANSFER_FAIL when it takes longer */
async function within<T>(limitMs: number, clock: Clock, work: Promise<T>): Promise<T> {
  let onTimeout = (): void => {}
  const timedOut = new Promise<never>((_, reject) => {
    onTimeout = () => {
      reject(new MooncakeError('ERR_TRANSFER_FAIL', `Nothing came of it within ${limitMs} ms`))
    }
  })
  using timer = clock.after(limitMs, onTimeout)
  void timer
  return await Promise.race([work, timedOut])
}
