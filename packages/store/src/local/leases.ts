import { randomBytes } from 'node:crypto'
import { MooncakeError, type Clock } from '@mooncake-ts/core'
import { DeadlineQueue, type Deadlined } from './deadline-queue.js'

export interface LeaseTableInit {
  readonly clock: Clock
  /** One lease for a key at a time, as for writes; otherwise any number, as for pins. @defaultValue false */
  readonly exclusive?: boolean
  /** Leases that may be open; more are refused. @defaultValue 262 144 */
  readonly leasesMax?: number
  /** Leases that ran out, remembered to tell a late caller from a wrong one. @defaultValue 65 536 */
  readonly expiredMax?: number
}

interface Entry<T> extends Deadlined {
  readonly operationId: string
  readonly key: string
  readonly payload: T
}

/**
 * What another node was promised for a time: space it writes to (PreWrite), bytes it reads (PinKey). Whoever
 * does not come back in time loses it. Each lease has an id of its own, so of several pins of a key each
 * holds, renews and loses only itself.
 */
export class LeaseTable<T> {
  readonly #clock: Clock
  readonly #exclusive: boolean
  readonly #leasesMax: number
  readonly #expiredMax: number
  readonly #entries = new Map<string, Entry<T>>()
  readonly #byKey = new Map<string, Entry<T>>()
  readonly #deadlines = new DeadlineQueue<Entry<T>>()
  readonly #expired = new Set<string>()
  /** So that an id of this node's former life is none of this one. */
  readonly #life = randomBytes(8).toString('hex')
  #opened = 0
  #onExpire: (key: string, payload: T) => void = () => {}
  #timer: Disposable | undefined
  #timerMs = Infinity
  #closed = false

  constructor(init: LeaseTableInit) {
    this.#clock = init.clock
    this.#exclusive = init.exclusive ?? false
    this.#leasesMax = init.leasesMax ?? 262_144
    this.#expiredMax = init.expiredMax ?? 65_536
  }

  get size(): number {
    return this.#entries.size
  }

  /** `listener` gives up what an expired lease held, in place of any listener before. It must not throw. */
  onExpire(listener: (key: string, payload: T) => void): void {
    this.#onExpire = listener
  }

  /**
   * Keeps `payload` for `leaseMs`; gives the operation id that takes it out again. Where it throws, the
   * payload stays the caller's.
   *
   * @throws ERR_REPLICA_IS_PROCESSING where an exclusive lease of the key is open, ERR_OVERLOADED,
   * ERR_SHUTTING_DOWN
   */
  open(key: string, payload: T, leaseMs: number): string {
    if (this.#closed) throw new MooncakeError('ERR_SHUTTING_DOWN')
    this.#expire()
    if (this.#exclusive && this.#byKey.has(key)) {
      throw new MooncakeError('ERR_REPLICA_IS_PROCESSING', `Another writer is writing ${key}`)
    }
    if (this.#entries.size >= this.#leasesMax) {
      throw new MooncakeError('ERR_OVERLOADED', `More than ${this.#leasesMax} leases are open`)
    }
    const operationId = `${this.#life}-${(this.#opened++).toString(36)}`
    const entry = { operationId, key, payload, deadlineMs: this.#clock.nowMs() + leaseMs, place: -1 }
    this.#entries.set(operationId, entry)
    if (this.#exclusive) this.#byKey.set(key, entry)
    this.#deadlines.add(entry)
    this.#arm()
    return operationId
  }

  /** Ends the lease; what it held is the caller's. @throws ERR_LEASE_EXPIRED, ERR_INVALID_WRITE */
  take(key: string, operationId: string): T {
    const entry = this.#find(key, operationId)
    this.#forget(entry)
    return entry.payload
  }

  /** From now on for `leaseMs`. @throws ERR_LEASE_EXPIRED, ERR_INVALID_WRITE */
  renew(key: string, operationId: string, leaseMs: number): void {
    this.#deadlines.move(this.#find(key, operationId), this.#clock.nowMs() + leaseMs)
    this.#arm()
  }

  /** Opens no more, and gives what the open ones held, which is the caller's to give up. */
  close(): T[] {
    this.#closed = true
    this.#timer?.[Symbol.dispose]()
    const entries = [...this.#entries.values()]
    for (const entry of entries) this.#forget(entry)
    return entries.map(entry => entry.payload)
  }

  #find(key: string, operationId: string): Entry<T> {
    this.#expire() // The timer may be late; the lease is not.
    const entry = this.#entries.get(operationId)
    if (entry?.key === key) return entry
    if (this.#expired.has(operationId)) {
      throw new MooncakeError('ERR_LEASE_EXPIRED', `The lease ${operationId} on ${key} ran out`)
    }
    throw new MooncakeError('ERR_INVALID_WRITE', `There is no lease ${operationId} on ${key}`)
  }

  #forget(entry: Entry<T>): void {
    this.#entries.delete(entry.operationId)
    if (this.#exclusive) this.#byKey.delete(entry.key)
    this.#deadlines.delete(entry)
  }

  #expire(nowMs = this.#clock.nowMs()): void {
    for (;;) {
      const entry = this.#deadlines.earliest
      if (entry == null || entry.deadlineMs > nowMs) return
      this.#forget(entry)
      this.#remember(entry.operationId)
      this.#onExpire(entry.key, entry.payload)
    }
  }

  #remember(operationId: string): void {
    this.#expired.add(operationId)
    if (this.#expired.size <= this.#expiredMax) return
    const [oldest] = this.#expired
    this.#expired.delete(oldest!)
  }

  /** One timer for all. It may come too early after a renewal, and looks again then; it is never late. */
  #arm(): void {
    const earliest = this.#deadlines.earliest
    if (earliest == null || earliest.deadlineMs >= this.#timerMs) return
    this.#timer?.[Symbol.dispose]()
    this.#timerMs = earliest.deadlineMs
    this.#timer = this.#clock.after(Math.max(0, earliest.deadlineMs - this.#clock.nowMs()), () => {
      this.#timerMs = Infinity
      this.#expire()
      this.#arm()
    })
  }
}
