import { randomBytes } from 'node:crypto'
import { MooncakeError, systemClock, type Clock, type Exposure, type TransferOp } from '@mooncake-ts/core'
import type { LocalWindow } from './local-window.js'

export interface InProcessNetworkOptions {
  /** Measures `latencyMs`. @defaultValue the system's */
  readonly clock?: Clock
  /**
   * How long operations take; a function is asked for each, so that they end in another order.
   * @defaultValue 0
   */
  readonly latencyMs?: number | (() => number)
  /**
   * Transports of two networks with different schemes can be composed into one node.
   * @defaultValue `inproc`
   */
  readonly scheme?: string
}

/** A transport's end of the network. */
export interface Attachment {
  readonly endpoint: string
  readonly windows: Map<string, LocalWindow>
}

/**
 * What in-process transports have in common, and where a test says how it behaves: slow, partitioned,
 * failing, or standing still.
 *
 * @example
 * const network = new InProcessNetwork()
 * const [a, b] = [await testHost([inProcess({ network })]), await testHost([inProcess({ network })])]
 * network.hold()
 * const { done } = new Transfer(signal => a.get(TRANSPORT).execute(batch, { signal }))
 * await until(() => network.inFlight === batch.length) // all are on the wire, and stay there
 * network.release()
 */
export class InProcessNetwork {
  /** How long an operation takes that is posted from now on. */
  latencyMs: number | (() => number)
  readonly scheme: string
  readonly #clock: Clock
  readonly #attached = new Map<string, Attachment>()
  readonly #partitions = new Set<string>()
  readonly #failures: Error[] = []
  #nextEndpoint = 1
  #inFlight = 0
  #gate: { readonly opened: Promise<void>; readonly open: () => void } | undefined

  constructor(options: InProcessNetworkOptions = {}) {
    this.#clock = options.clock ?? systemClock
    this.latencyMs = options.latencyMs ?? 0
    this.scheme = options.scheme ?? 'inproc'
  }

  /** Operations that were posted and have not ended. */
  get inFlight(): number {
    return this.#inFlight
  }

  /** The next `count` operations that are posted fail. @defaultValue error ERR_TRANSFER_FAIL */
  failNext(
    count: number,
    error: Error = new MooncakeError('ERR_TRANSFER_FAIL', 'The test made it fail'),
  ): void {
    for (let i = 0; i < count; i++) this.#failures.push(error)
  }

  /** Neither endpoint reaches the other any more; what is in flight between them fails when it would land. */
  partition(a: string, b: string): void {
    this.#partitions.add(pathOf(a, b))
  }

  /** Ends a partition. */
  heal(a: string, b: string): void {
    this.#partitions.delete(pathOf(a, b))
  }

  /** From now on operations are posted but do not land, like those of a device that takes its time. */
  hold(): void {
    if (this.#gate != null) return
    let open!: () => void
    const opened = new Promise<void>(resolve => (open = resolve))
    this.#gate = { opened, open }
  }

  /** Lets everything land that is held. */
  release(): void {
    this.#gate?.open()
    this.#gate = undefined
  }

  /** For transports. */
  attach(): Attachment {
    const attachment = { endpoint: `inproc:${this.#nextEndpoint++}`, windows: new Map<string, LocalWindow>() }
    this.#attached.set(attachment.endpoint, attachment)
    return attachment
  }

  /** For transports. Settles when no peer's operation touches a window of this end any more. */
  async detach({ endpoint, windows }: Attachment): Promise<void> {
    this.#attached.delete(endpoint)
    await Promise.all([...windows.values()].map(window => window.revoke()))
  }

  /** For transports. */
  expose({ endpoint, windows }: Attachment, window: LocalWindow): Exposure {
    const key = randomBytes(16)
    const id = key.toString('hex')
    windows.set(id, window)
    return {
      window: { scheme: this.scheme, endpoint, key: Uint8Array.from(key) },
      revoke: async () => {
        windows.delete(id)
        await window.revoke()
      },
    }
  }

  /**
   * For transports: one operation, from post to rest. Gives the bytes moved.
   * @throws ERR_TRANSFER_FAIL, ERR_ACCESS_DENIED
   */
  async move(from: Attachment, op: TransferOp): Promise<number> {
    const { endpoint, key } = op.remote.window
    this.#assertReachable(from.endpoint, endpoint)
    const failure = this.#failures.shift()
    if (failure != null) throw failure
    const window = this.#attached.get(endpoint)!.windows.get(Buffer.from(key).toString('hex'))
    if (window == null) throw new MooncakeError('ERR_ACCESS_DENIED', 'The window is unknown or revoked')
    this.#inFlight++
    try {
      return await window.use(op, async () => {
        const latencyMs = typeof this.latencyMs === 'number' ? this.latencyMs : this.latencyMs()
        if (latencyMs > 0) await this.#clock.sleep(latencyMs)
        await this.#gate?.opened
        this.#assertReachable(from.endpoint, endpoint)
      })
    } finally {
      this.#inFlight--
    }
  }

  #assertReachable(from: string, to: string): void {
    if (this.#attached.has(to) && !this.#partitions.has(pathOf(from, to))) return
    throw new MooncakeError('ERR_TRANSFER_FAIL', `${from} does not reach ${to}`)
  }
}

const pathOf = (a: string, b: string): string => [a, b].sort().join(' ')
