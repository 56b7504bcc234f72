import { randomBytes } from 'node:crypto'
import {
  assertSlice,
  MooncakeError,
  type Exposure,
  type ExposeOptions,
  type Region,
  type RevokeOptions,
} from '@mooncake-ts/core'
import { encodeKey, TOKEN_BYTES } from './key.js'
import { ACCESS_READ, ACCESS_WRITE, DEVICES_MAX, type NativeTable } from './native.js'
import type { Registration, Registrations } from './registrations.js'

const ACCESS = { read: ACCESS_READ, write: ACCESS_WRITE, readwrite: ACCESS_READ | ACCESS_WRITE } as const

interface Entry {
  readonly slot: number
  readonly key: Uint8Array
  readonly registration: Registration | undefined
  /** Settles when it was revoked and no peer touches the range any more. */
  rest: Promise<void> | undefined
}

/**
 * What this process lets peers reach. The authority is a slot in the window table, which peers READ before each batch:
 * from the moment it is shut nobody begins anything new. Operations that had looked before are brought to rest by
 * `recall`, unless the peer has said that it is at rest.
 */
export class Exposures {
  readonly #table: NativeTable
  readonly #registrations: Registrations
  readonly #recall: (key: Uint8Array) => Promise<void>
  readonly #byRegion = new Map<Region, Set<Entry>>()

  /** @param recall settles when no peer has an operation on the window, which is shut */
  constructor(table: NativeTable, registrations: Registrations, recall: (key: Uint8Array) => Promise<void>) {
    this.#table = table
    this.#registrations = registrations
    this.#recall = recall
    registrations.onRegionClosed = region => {
      for (const entry of this.#byRegion.get(region) ?? []) void this.#revoke(region, entry, false)
    }
  }

  /** Windows that are open, or not at rest. */
  get count(): number {
    return this.#table.inUse()
  }

  /** @throws ERR_SLICE_OUT_OF_BOUNDS, ERR_REGION_CLOSED, ERR_OVERLOADED */
  expose(region: Region, { offset, byteLength, access }: ExposeOptions, endpoint: string): Exposure {
    assertSlice({ region, offset, byteLength })
    const token = randomBytes(TOKEN_BYTES)
    const slot = this.#table.add(token, region.handle, offset, byteLength, ACCESS[access])
    if (slot < 0)
      throw new MooncakeError('ERR_OVERLOADED', 'More ranges are exposed than exposuresMax allows')
    const registration =
      byteLength === 0 ? undefined : this.#registrations.acquire(region, offset, byteLength)
    const entry: Entry = { slot, key: encodeKey(slot, token), registration, rest: undefined }
    const entries = this.#byRegion.get(region) ?? new Set()
    this.#byRegion.set(region, entries.add(entry))
    if (registration?.pending == null) this.#publish(entry)
    else {
      void registration.pending.then(() => {
        if (entry.rest == null) this.#publish(entry)
      })
    }
    const revoke = (options?: RevokeOptions): Promise<void> =>
      this.#revoke(region, entry, options?.peerAtRest ?? false)
    return { window: { scheme: 'rdma', endpoint, key: entry.key }, revoke }
  }

  /** Settles when no peer touches anything any more. */
  async revokeAll(): Promise<void> {
    const all = [...this.#byRegion].flatMap(([region, entries]) =>
      [...entries].map(entry => ({ region, entry })),
    )
    await Promise.all(all.map(({ region, entry }) => this.#revoke(region, entry, false)))
  }

  #publish({ slot, registration }: Entry): void {
    const rkeys = new Uint32Array(DEVICES_MAX)
    for (const [device, { rkey }] of registration?.byDevice ?? []) rkeys[device.number] = rkey
    this.#table.publish(slot, rkeys)
  }

  #revoke(region: Region, entry: Entry, peerAtRest: boolean): Promise<void> {
    entry.rest ??= this.#bringToRest(region, entry, peerAtRest)
    return entry.rest
  }

  async #bringToRest(region: Region, entry: Entry, peerAtRest: boolean): Promise<void> {
    this.#table.shut(entry.slot)
    if (!peerAtRest) await this.#recall(entry.key)
    this.#table.remove(entry.slot)
    const entries = this.#byRegion.get(region)
    entries?.delete(entry)
    if (entries?.size === 0) this.#byRegion.delete(region)
    if (entry.registration != null) this.#registrations.release(entry.registration)
  }
}
