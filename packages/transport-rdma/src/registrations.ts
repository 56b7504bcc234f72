import { MooncakeError, type Region, type Slice } from '@mooncake-ts/core'
import type { Device, Registered } from './device.js'
import { native } from './native.js'

/** Parts of one caller's buffer that stay registered although nobody uses them at the moment. */
const UNUSED_PARTS_MAX = 8

/** A range of a Region as all devices know it, or are about to. */
export interface Registration {
  readonly offset: number
  readonly byteLength: number
  /** By the number of the device; absent while it is not registered there, or cannot be. */
  readonly byDevice: ReadonlyMap<Device, Registered>
  /** Why no device could register it. */
  readonly error: Error | undefined
  /** Settles, never rejects, when every device has answered; undefined when they have. */
  readonly pending: Promise<void> | undefined
}

interface Entry extends Registration {
  readonly byDevice: Map<Device, Registered>
  error: Error | undefined
  pending: Promise<void> | undefined
  uses: number
  /** Its region was closed: the last user lets go of it. */
  closing: boolean
}

/**
 * Memory that devices know. A Region of the memory package is registered whole, at its first use, until it is closed:
 * that pins its pages. Of a caller's own buffer only the range in use is, because registering costs time by the byte.
 */
export class Registrations {
  readonly #devices: readonly Device[]
  readonly #entries = new Map<Region, Entry[]>()
  /** Told when a Region was closed. */
  onRegionClosed: (region: Region) => void = () => {}

  constructor(devices: readonly Device[]) {
    this.#devices = devices
  }

  /** Whether it costs nothing to use the range, or is done once for all of its region. */
  knows({ region, offset, byteLength }: Slice): boolean {
    const entries = this.#entries.get(region) ?? []
    return (
      entries.some(entry => covers(entry, offset, byteLength) && usable(entry)) ||
      native().isOwned(region.handle)
    )
  }

  /** Each call wants one `release`. @throws ERR_REGION_CLOSED */
  acquire(region: Region, offset: number, byteLength: number): Registration {
    if (region.closed) throw new MooncakeError('ERR_REGION_CLOSED')
    const known = this.#entries.get(region)
    const found = known?.find(entry => covers(entry, offset, byteLength) && usable(entry))
    const entry = found ?? this.#register(region, offset, byteLength)
    entry.uses++
    return entry
  }

  release(registration: Registration): void {
    const entry = registration as Entry
    entry.uses--
    if (entry.closing && entry.uses === 0) this.#deregister(entry)
  }

  /** The transport is at rest: nothing is in use any more. */
  clear(): void {
    for (const region of [...this.#entries.keys()]) this.#forget(region)
  }

  #register(region: Region, offset: number, byteLength: number): Entry {
    const whole = native().isOwned(region.handle)
    const range = whole ? { offset: 0, byteLength: region.byteLength } : { offset, byteLength }
    const byDevice = new Map<Device, Registered>()
    const entry: Entry = { ...range, byDevice, error: undefined, pending: undefined, uses: 0, closing: false }
    const answers = this.#devices.map(async device => {
      byDevice.set(device, await device.register(region, range.offset, range.byteLength))
    })
    entry.pending = Promise.allSettled(answers).then(results => {
      entry.pending = undefined
      if (byDevice.size > 0) return
      const failed = results.find(result => result.status === 'rejected')
      entry.error = failed?.reason as Error
    })
    const known = this.#entries.get(region)
    if (known == null) {
      this.#entries.set(region, [entry])
      region.onClose(() => {
        this.#forget(region)
      })
    } else {
      known.push(entry)
      this.#dropUnused(known)
    }
    return entry
  }

  /** Also those that failed: the next use tries again. */
  #dropUnused(entries: Entry[]): void {
    const unused = entries.filter(entry => entry.uses === 0 && entry.pending == null)
    const superfluous = unused.length - UNUSED_PARTS_MAX
    unused.forEach((entry, index) => {
      if (entry.error == null && index >= superfluous) return
      entries.splice(entries.indexOf(entry), 1)
      this.#deregister(entry)
    })
  }

  #forget(region: Region): void {
    const entries = this.#entries.get(region)
    if (entries == null) return
    this.#entries.delete(region)
    this.onRegionClosed(region)
    for (const entry of entries) {
      entry.closing = true
      if (entry.uses === 0) this.#deregister(entry)
    }
  }

  #deregister(entry: Entry): void {
    entry.closing = true
    const forget = (): void => {
      for (const [device, { id }] of entry.byDevice) device.deregister(id)
      entry.byDevice.clear()
    }
    if (entry.pending == null) forget()
    else void entry.pending.then(forget)
  }
}

function covers(entry: Entry, offset: number, byteLength: number): boolean {
  return offset >= entry.offset && offset + byteLength <= entry.offset + entry.byteLength
}

function usable(entry: Entry): boolean {
  return entry.pending != null || entry.byDevice.size > 0
}
