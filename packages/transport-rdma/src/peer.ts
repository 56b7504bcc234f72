import { asMooncakeError, MooncakeError, type Batch, type Clock, type Logger } from '@mooncake-ts/core'
import type { Device } from './device.js'
import type { DeviceHealth } from './devices.js'
import type { Piece } from './piece.js'
import { nameOfKey, type WindowKey } from './key.js'
import { Link, type LinkStore } from './link.js'
import type { TransportMetrics } from './metrics.js'
import type { ResolvedOptions } from './options.js'
import type { RemoteDevice, Session } from './session.js'
import { isWorthRetrying, Status, statusText } from './status.js'

export interface PeerDeps {
  readonly options: ResolvedOptions
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics: TransportMetrics
  readonly devices: readonly Device[]
  readonly health: DeviceHealth<Device>
  readonly store: LinkStore
  readonly openSession: () => Promise<Session>
}

/** Another transport, seen from here: its control connection, and a link for each device that both ends can use. */
export class Peer {
  readonly #deps: PeerDeps
  #session: Promise<Session> | undefined
  #links: Link[] = []
  /** Pieces that wait for a link or a registration: nothing touches their memory. */
  readonly #waiting = new Set<Piece>()
  /** Windows that operations are under way on, by key: counted from before they look at them until they are at rest. */
  readonly #windows = new Map<string, number>()
  readonly #unused = new Map<string, () => void>()
  /** Which links a piece is not to be tried on again: the peer has its memory on other devices. */
  readonly #refusals = new WeakMap<Piece, Set<Device>>()
  #closed = false

  constructor(deps: PeerDeps) {
    this.#deps = deps
  }

  get links(): readonly Link[] {
    return this.#links
  }

  /** Nothing to keep it for. */
  get idle(): boolean {
    return this.#waiting.size === 0 && this.#windows.size === 0 && this.#links.every(link => link.id == null)
  }

  /** An operation on this window begins. Each call wants one `leave`. */
  enter({ name }: WindowKey): void {
    this.#windows.set(name, (this.#windows.get(name) ?? 0) + 1)
  }

  leave({ name }: WindowKey): void {
    const left = this.#windows.get(name)! - 1
    if (left > 0) {
      this.#windows.set(name, left)
      return
    }
    this.#windows.delete(name)
    this.#unused.get(name)?.()
    this.#unused.delete(name)
  }

  /** Moves them, over whatever links there are. Their operations were entered. */
  run(pieces: readonly Piece[]): void {
    const wanted = pieces.filter(piece => {
      // Its batch may have been aborted since it was cut, and then nobody takes it back from here any more.
      const { aborted } = piece.operation.batch.signal
      if (aborted) piece.operation.takeBack()
      else this.#waiting.add(piece)
      return !aborted
    })
    if (wanted.length > 0) void this.#run(wanted)
  }

  /** Takes back what is not posted. */
  takeBack(batch: Batch): void {
    for (const piece of this.#waiting) {
      if (piece.operation.batch !== batch) continue
      this.#waiting.delete(piece)
      piece.operation.takeBack()
    }
    for (const link of this.#links) link.cancel(piece => piece.operation.batch === batch)
  }

  /** The only way to stop what is posted. Others' pieces on those links are tried again. */
  closeLinksOf(batch: Batch): void {
    for (const link of this.#links) {
      if (link.carries(piece => piece.operation.batch === batch)) link.close()
    }
  }

  /** Where it is the only device, its links may outlive a moment without their port. */
  onPort(device: Device, up: boolean): void {
    if (up) {
      for (const link of this.#links) if (link.device === device) link.pausedUntilMs = -Infinity
      return
    }
    const { health, clock, options } = this.#deps
    const others = this.#links.some(link => link.device !== device && health.isUp(link.device))
    if (others) this.#breakLinksOf(device)
    else {
      // Soft-RoCE may forget to send again, and then nothing would ever end.
      clock.after(options.abortGraceMs, () => {
        if (!health.isUp(device)) this.#breakLinksOf(device)
      })
    }
  }

  /** Fails what waits and what is posted. Settles when all is at rest. */
  async close(): Promise<void> {
    this.#closed = true
    const reason = new MooncakeError('ERR_SHUTTING_DOWN')
    this.#fail([...this.#waiting], reason)
    for (const link of this.#links) link.close()
    await Promise.all(this.#links.map(link => link.closing))
    const session = await this.#session?.catch(() => undefined)
    session?.close(reason)
  }

  #breakLinksOf(device: Device): void {
    for (const link of this.#links) if (link.device === device) link.broke('its port is down')
  }

  async #run(pieces: readonly Piece[]): Promise<void> {
    try {
      let links = await this.#usableLinks()
      const registrations = pieces.flatMap(({ registration }) => registration.pending ?? [])
      if (registrations.length > 0) await Promise.all(registrations)
      // They were idle meanwhile, and may have made room for those of another peer.
      if (!links.some(link => link.up)) links = await this.#usableLinks()
      this.#post(
        pieces.filter(piece => this.#waiting.delete(piece)),
        links.filter(link => link.up),
      )
    } catch (error) {
      this.#fail(pieces, asTransferFail(error))
    }
  }

  #fail(pieces: readonly Piece[], error: MooncakeError): void {
    for (const piece of pieces) {
      if (!this.#waiting.delete(piece)) continue
      this.#deps.metrics.failed(error)
      piece.operation.settle(error)
    }
  }

  /** At least one that is up. Rejects with the reason why there is none. */
  async #usableLinks(): Promise<readonly Link[]> {
    if (this.#closed) throw new MooncakeError('ERR_SHUTTING_DOWN')
    await this.#connected()
    const usable = this.#best(this.#links)
    const up = usable.filter(link => link.up)
    const others = usable.filter(link => !link.up).map(link => link.ready())
    for (const making of others) making.catch(() => {}) // Where some are up, these join when they can.
    if (up.length > 0) return up
    try {
      await Promise.any(others)
    } catch (error) {
      const rest = this.#links.filter(link => !usable.includes(link))
      const [reason] = (error as AggregateError).errors as unknown[]
      if (rest.length === 0) throw reason
      await Promise.any(rest.map(link => link.ready())).catch(() => {
        throw reason
      })
    }
    return this.#links.filter(link => link.up)
  }

  /** Those whose device is up and that did not break a moment ago; else those whose device is up; else all. */
  #best(links: readonly Link[]): readonly Link[] {
    const nowMs = this.#deps.clock.nowMs()
    const up = links.filter(link => this.#deps.health.isUp(link.device))
    const well = up.filter(link => link.pausedUntilMs <= nowMs)
    if (well.length > 0) return well
    return up.length > 0 ? up : links
  }

  async #connected(): Promise<void> {
    this.#session ??= this.#deps.openSession().then(
      session => {
        this.#adopt(session)
        return session
      },
      (error: unknown) => {
        this.#session = undefined
        throw error
      },
    )
    await this.#session
    if (this.#links.length === 0) {
      throw new MooncakeError('ERR_TRANSFER_FAIL', 'The two ends have no kind of RDMA device in common')
    }
  }

  #adopt(session: Session): void {
    const { devices, logger } = this.#deps
    const deps = {
      ...this.#deps,
      onEnd: this.#onEnd.bind(this),
      onBreak: ({ device }: Link, why: string) => {
        logger.warn(`RDMA link from ${device.name} to ${session.endpoint} broke: ${why}`, {
          device: device.name,
        })
      },
    }
    this.#links = devices.flatMap(device => {
      const remotes = session.devices.filter(remote => remote.ethernet === device.port.ethernet)
      return remotes.length === 0 ? [] : [new Link(device, inOrder(remotes, device), session, deps)]
    })
    session.onBroken = id => {
      this.#links.find(link => link.id === id)?.broke("the peer's end broke")
    }
    session.onRecall = key => this.#whenUnused(nameOfKey(key))
    void session.ended.then(() => {
      // The peer is gone, or nobody can tell it to come to rest: what is on its links fails.
      this.#session = undefined
      for (const link of this.#links) link.close()
      this.#links = []
    })
  }

  #whenUnused(key: string): Promise<void> {
    if (!this.#windows.has(key)) return Promise.resolve()
    return new Promise(resolve => {
      const before = this.#unused.get(key)
      this.#unused.set(key, () => {
        before?.()
        resolve()
      })
    })
  }

  #post(pieces: readonly Piece[], links: readonly Link[]): void {
    const batches = new Map<Link, Piece[]>()
    const loads = new Map(links.map(link => [link, link.inflightBytes]))
    for (const piece of pieces) {
      if (piece.operation.batch.signal.aborted) {
        piece.operation.takeBack()
        continue
      }
      const link = this.#choose(piece, links, loads)
      if (link == null) {
        const reason =
          piece.registration.error?.message ?? 'no device is left that both ends know the memory by'
        const error = new MooncakeError('ERR_TRANSFER_FAIL', `The bytes could not be moved: ${reason}`)
        this.#deps.metrics.failed(error)
        piece.operation.settle(error)
        continue
      }
      loads.set(link, loads.get(link)! + piece.byteLength)
      const batch = batches.get(link)
      if (batch == null) batches.set(link, [piece])
      else batch.push(piece)
    }
    for (const [link, batch] of batches) link.post(batch)
  }

  /** The one with the least in flight, of those near the memory if there are any. */
  #choose(piece: Piece, links: readonly Link[], loads: ReadonlyMap<Link, number>): Link | undefined {
    const refused = this.#refusals.get(piece)
    let best: Link | undefined
    let bestNear = false
    for (const link of links) {
      const registered = piece.registration.byDevice.get(link.device)
      if (registered == null || refused?.has(link.device) === true) continue
      const near = registered.numaNode === link.device.port.numaNode || link.device.port.numaNode < 0
      const better =
        best == null || (near && !bestNear) || (near === bestNear && loads.get(link)! < loads.get(best)!)
      if (!better) continue
      best = link
      bestNear = near
    }
    return best
  }

  #onEnd(link: Link, piece: Piece, status: number): void {
    const { operation } = piece
    if (status === Status.done) {
      this.#deps.metrics.moved(operation.op.kind, piece.byteLength)
      operation.settle()
    } else if (status === Status.cancelled) operation.takeBack()
    else if (status === Status.accessDenied) this.#settle(piece, new MooncakeError('ERR_ACCESS_DENIED'))
    else if (status === Status.notRegisteredThere) this.#tryElsewhere(link, piece)
    else void this.#afterBreak(link, piece, status)
  }

  #tryElsewhere(link: Link, piece: Piece): void {
    const refused = this.#refusals.get(piece) ?? new Set()
    this.#refusals.set(piece, refused.add(link.device))
    this.run([piece])
  }

  async #afterBreak(link: Link, piece: Piece, status: number): Promise<void> {
    const session = this.#session
    await link.closing
    const message = `The bytes could not be moved over ${link.device.name}: ${statusText(status)}`
    if (status === Status.remoteAccess) this.#settle(piece, new MooncakeError('ERR_ACCESS_DENIED', message))
    else if (piece.operation.batch.signal.aborted) piece.operation.takeBack()
    else if (
      !isWorthRetrying(status) ||
      piece.attempts > this.#deps.options.retriesMax ||
      session !== this.#session ||
      this.#closed
    ) {
      this.#settle(piece, new MooncakeError('ERR_TRANSFER_FAIL', message))
    } else {
      this.#deps.metrics.retried()
      this.run([piece])
    }
  }

  #settle(piece: Piece, error: MooncakeError): void {
    this.#deps.metrics.failed(error)
    piece.operation.settle(error)
  }
}

/** The device with the same number first: rails of one fabric usually are. */
function inOrder(remotes: readonly RemoteDevice[], { number }: Device): readonly RemoteDevice[] {
  return [
    ...remotes.filter(remote => remote.number === number),
    ...remotes.filter(remote => remote.number !== number),
  ]
}

/** Whatever kept a piece from being posted, another transport may move it. */
function asTransferFail(reason: unknown): MooncakeError {
  const error = asMooncakeError(reason)
  if (error.code === 'ERR_TRANSFER_FAIL' || error.code === 'ERR_SHUTTING_DOWN') return error
  return new MooncakeError('ERR_TRANSFER_FAIL', `No link to the peer: ${error.message}`, { cause: error })
}
