import { asMooncakeError, errorCode, MooncakeError } from '@mooncake-ts/core'
import type { Access, Exposure, Logger, RevokeOptions, Slice, Transport } from '@mooncake-ts/core'
import type { LeaseTable } from '../local/leases.js'
import type { Lease, ObjectMeta, Reservation, TieredBackend } from '../local/tiered-backend.js'
import { exposeAll, revokeAll } from '../transfer/announcement.js'
import type { Committer } from './committer.js'
import { metaOf } from './meta-of.js'
import type { PinKey, PreWrite, WireRegion, WriteItemSpec, WriteResultItem } from './protocol.js'
import { failure, type WriteTerms } from './remote-writer.js'
import type { Unannounced } from './unannounced.js'

type Spec = Omit<WriteItemSpec, 'parts'>
type OperationRefs = ReadonlyArray<{ readonly key: string; readonly operationId: string }>
type PreWriteResult = ReturnType<typeof PreWrite.parseResponse>['results'][number]
type PinResult = ReturnType<typeof PinKey.parseResponse>['results'][number]
type Status = { code?: string; message?: string }

/** Space that a caller may WRITE into until its lease runs out. */
interface OpenWrite {
  readonly reservation: Reservation
  readonly exposures: readonly Exposure[]
  readonly meta: ObjectMeta
  readonly upsert: boolean
}

/** An object that callers may READ until their lease runs out. */
interface OpenPin {
  readonly lease: Lease
  readonly exposures: readonly Exposure[]
}

export interface ForwardSessionsInit {
  readonly backend: TieredBackend
  readonly committer: Committer
  readonly unannounced: Unannounced
  readonly transports: readonly Transport[]
  readonly logger: Logger
  readonly writes: LeaseTable<OpenWrite>
  readonly pins: LeaseTable<OpenPin>
  readonly keyLeaseMs: number
}

/**
 * The "forward" direction, where the caller moves the bytes: PreWrite, WriteCommit, WriteRevoke, PinKey,
 * UnPinKey. A window is open only for as long as its lease, and space is used again only after every window
 * on it is shut and at rest (I4).
 */
export class ForwardSessions {
  readonly #init: ForwardSessionsInit

  constructor(init: ForwardSessionsInit) {
    this.#init = init
    init.writes.onExpire((key, write) => {
      init.logger.warn('A PreWrite was not finished within its lease; its space is taken back', { key })
      this.#background(this.#closeWrite(write))
    })
    init.pins.onExpire((_key, pin) => {
      this.#background(this.#closePin(pin))
    })
  }

  async preWrite(items: readonly Spec[], terms: WriteTerms, signal: AbortSignal): Promise<PreWriteResult[]> {
    return await Promise.all(items.map(item => this.#preWriteOne(item, terms, signal).catch(failure)))
  }

  async writeCommit(items: OperationRefs): Promise<WriteResultItem[]> {
    return await Promise.all(items.map(item => this.#commitOne(item).catch(failure)))
  }

  async writeRevoke(items: OperationRefs): Promise<Status[]> {
    return await Promise.all(
      items.map(async ({ key, operationId }) => {
        const write = takeIfOpen(this.#init.writes, key, operationId)
        if (write != null) await this.#closeWrite(write)
        return {}
      }),
    )
  }

  /** @param schemes of the transports that the caller will use. Default: any */
  pinKeys(keys: readonly string[], schemes?: readonly string[]): PinResult[] {
    const all = this.#init.transports
    const transports = schemes == null ? all : all.filter(({ scheme }) => schemes.includes(scheme))
    return keys.map(key => {
      try {
        return this.#pinOne(key, transports)
      } catch (error) {
        return { code: errorCode(error), byteLength: 0, generation: 0 }
      }
    })
  }

  renewPins(items: OperationRefs): Status[] {
    const { pins, keyLeaseMs } = this.#init
    return items.map(({ key, operationId }) => {
      try {
        pins.renew(key, operationId, keyLeaseMs)
        return {}
      } catch (error) {
        return { code: errorCode(error) }
      }
    })
  }

  async unpinKeys(items: OperationRefs): Promise<Status[]> {
    return await Promise.all(
      items.map(async item => {
        await this.#unpinOne(item)
        return {}
      }),
    )
  }

  /** As `unpinKeys`, where nobody waits for it. */
  letGo(items: OperationRefs): void {
    for (const item of items) this.#background(this.#unpinOne(item))
  }

  /** Takes back whatever is open. */
  async close(): Promise<void> {
    const writes = this.#init.writes.close().map(write => this.#closeWrite(write))
    const pins = this.#init.pins.close().map(pin => this.#closePin(pin))
    await Promise.all([...writes, ...pins])
  }

  async #preWriteOne(spec: Spec, terms: WriteTerms, signal: AbortSignal): Promise<PreWriteResult> {
    const { backend, writes, keyLeaseMs } = this.#init
    const { upsert, waitMs } = terms
    if (!upsert && backend.has(spec.key)) {
      await this.#init.unannounced.answered([spec], signal)
      return { existed: true }
    }
    const meta = metaOf(spec, terms)
    const reservation = await backend.reserve(spec.byteLength, { deadlineMs: waitMs, signal })
    let exposures: readonly Exposure[] = []
    try {
      exposures = expose(this.#init.transports, reservation.slice, 'write')
      const operationId = writes.open(spec.key, { reservation, exposures, meta, upsert }, keyLeaseMs)
      return { existed: false, operationId, region: regionOf(exposures), leaseMs: keyLeaseMs }
    } catch (error) {
      await revokeAll(exposures)
      reservation.abandon()
      throw error
    }
  }

  async #commitOne({ key, operationId }: OperationRefs[number]): Promise<WriteResultItem> {
    const { reservation, exposures, meta, upsert } = this.#init.writes.take(key, operationId)
    // From here on nobody can change what is about to become an immutable object: its writer says that all is there.
    await revokeAll(exposures, { peerAtRest: true })
    return { existed: await this.#init.committer.commit(reservation, meta, upsert ? 'upsert' : 'put') }
  }

  async #unpinOne({ key, operationId }: OperationRefs[number]): Promise<void> {
    const pin = takeIfOpen(this.#init.pins, key, operationId)
    // Whoever read has what it wanted, or has given up: bytes that still come are for nobody.
    if (pin != null) await this.#closePin(pin, { peerAtRest: true })
  }

  #pinOne(key: string, transports: readonly Transport[]): PinResult {
    const { backend, pins, keyLeaseMs } = this.#init
    const lease = backend.acquire(key)
    if (lease == null) return { code: 'ERR_OBJECT_NOT_FOUND', byteLength: 0, generation: 0 }
    let exposures: readonly Exposure[] = []
    try {
      exposures = expose(transports, lease.slice, 'read')
      const operationId = pins.open(key, { lease, exposures }, keyLeaseMs)
      const { byteLength, generation, checksum } = lease.meta
      const region = regionOf(exposures)
      return {
        byteLength,
        generation,
        operationId,
        region,
        leaseMs: keyLeaseMs,
        ...(checksum == null ? {} : { checksum }),
      }
    } catch (error) {
      this.#background(this.#closePin({ lease, exposures }))
      throw error
    }
  }

  async #closeWrite({ reservation, exposures }: OpenWrite): Promise<void> {
    await revokeAll(exposures)
    reservation.abandon()
  }

  async #closePin({ lease, exposures }: OpenPin, options?: RevokeOptions): Promise<void> {
    await revokeAll(exposures, options)
    lease.release()
  }

  #background(work: Promise<void>): void {
    work.catch((error: unknown) => {
      this.#init.logger.error('Space could not be taken back', { error: asMooncakeError(error).message })
    })
  }
}

/** @throws ERR_NOT_SUPPORTED */
function expose(transports: readonly Transport[], slice: Slice | undefined, access: Access): Exposure[] {
  if (slice == null)
    throw new MooncakeError('ERR_NOT_SUPPORTED', 'The object lies in a tier without memory addresses')
  return exposeAll(transports, slice, access)
}

function regionOf(exposures: readonly Exposure[]): WireRegion {
  return { windows: exposures.map(exposure => exposure.window) }
}

/** What is not open any more was taken back already, which is what the caller wants. */
function takeIfOpen<T>(table: LeaseTable<T>, key: string, operationId: string): T | undefined {
  try {
    return table.take(key, operationId)
  } catch {
    return undefined
  }
}
