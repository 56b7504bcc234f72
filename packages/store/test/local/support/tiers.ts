import { BaseTier, type ObjectIdentity, type Region, type Tier, type TierAllocation } from '@mooncake-ts/core'
import type { CompletionStream, TierReadOp, TierSupports, TierWriteOp } from '@mooncake-ts/core'
import { FreeRanges } from '../../../dist/local/free-ranges.js'

/** What a reader must never see. */
export const POISON = 0xdd

/**
 * A small tier in real memory. What is freed is overwritten at once, and freeing twice fails, so that a use
 * after free is seen.
 */
export class PoisonTier implements Tier {
  readonly kind = 'DRAM'
  readonly supports: TierSupports = { directMemory: true, persistence: false, partialRead: true }
  readonly tags = []
  readonly held = new Map<number, TierAllocation>()
  readonly #free: FreeRanges
  #nextId = 1
  #usedBytes = 0

  constructor(
    readonly region: Region,
    readonly name = 'dram-0',
    readonly priority = 100,
  ) {
    this.#free = new FreeRanges(region.byteLength)
    if (region.byteLength > 0) region.view(0, region.byteLength).fill(POISON)
  }

  get capacityBytes(): number {
    return this.region.byteLength
  }

  get usedBytes(): number {
    return this.#usedBytes
  }

  allocate(byteLength: number): TierAllocation | undefined {
    const offset = byteLength === 0 ? 0 : this.#free.take(byteLength)
    if (offset == null) return undefined
    const allocation = {
      id: this.#nextId++,
      byteLength,
      ...(byteLength === 0 ? {} : { slice: { region: this.region, offset, byteLength } }),
    }
    this.#usedBytes += byteLength
    this.held.set(allocation.id, allocation)
    return allocation
  }

  free(allocation: TierAllocation): void {
    if (!this.held.delete(allocation.id)) throw new Error(`Allocation ${allocation.id} was freed twice`)
    if (allocation.slice == null) return
    const { offset, byteLength } = allocation.slice
    this.region.view(offset, byteLength).fill(POISON)
    this.#free.giveBack(offset, byteLength)
    this.#usedBytes -= byteLength
  }

  write(): CompletionStream {
    throw new Error('Nobody writes to a tier with direct memory')
  }

  read(): CompletionStream {
    throw new Error('Nobody reads from a tier with direct memory')
  }
}

/** A device in a Map: no addresses, and every operation waits for the test's word when `hold` is on. */
export class MapTier extends BaseTier {
  readonly bytes = new Map<number, Uint8Array>()
  readonly identities = new Map<number, ObjectIdentity>()
  readonly #gates: Array<() => void> = []
  commitError: Error | undefined
  writeError: Error | undefined
  readError: Error | undefined
  writes = 0
  hold = false

  constructor(capacityBytes: number, supports: Partial<TierSupports> = {}, name = 'ssd-0', priority = 10) {
    super({ name, kind: 'STORAGE', capacityBytes, supports, priority })
  }

  get heldBack(): number {
    return this.#gates.length
  }

  letGo(): void {
    this.hold = false
    this.#gates.splice(0).forEach(open => {
      open()
    })
  }

  async commit(allocation: TierAllocation, identity: ObjectIdentity): Promise<void> {
    await this.#gate()
    if (this.commitError != null) throw this.commitError
    this.identities.set(allocation.id, identity)
  }

  async *recover(): AsyncIterable<{ identity: ObjectIdentity; allocation: TierAllocation }> {
    for (const [id, identity] of [...this.identities]) {
      const allocation = this.allocate(identity.byteLength)!
      const bytes = this.bytes.get(id)!
      this.identities.delete(id)
      this.bytes.delete(id)
      this.identities.set(allocation.id, identity)
      this.bytes.set(allocation.id, bytes)
      yield { identity, allocation }
    }
  }

  protected async _write(id: number, { from }: TierWriteOp): Promise<number> {
    this.writes++
    await this.#gate()
    if (this.writeError != null) throw this.writeError
    this.bytes.set(id, from.region.view(from.offset, from.byteLength).slice())
    return from.byteLength
  }

  protected async _read(id: number, { offset, into }: TierReadOp): Promise<number> {
    await this.#gate()
    if (this.readError != null) throw this.readError
    const stored = this.bytes.get(id)
    if (stored == null) throw new Error(`Object ${id} was deleted`)
    if (!this.supports.partialRead && (offset !== 0 || into.byteLength !== stored.byteLength)) {
      throw new Error('This tier reads whole objects')
    }
    into.region.view(into.offset, into.byteLength).set(stored.subarray(offset, offset + into.byteLength))
    return into.byteLength
  }

  protected async _delete(id: number): Promise<void> {
    await this.#gate()
    this.bytes.delete(id)
    this.identities.delete(id)
  }

  async #gate(): Promise<void> {
    if (this.hold) await new Promise<void>(resolve => this.#gates.push(resolve))
  }
}

/** One that rounds up to blocks of 10 bytes. */
export class BlockTier extends MapTier {
  override allocate(byteLength: number): TierAllocation | undefined {
    const allocation = super.allocate(10 * Math.ceil(byteLength / 10))
    return allocation && { ...allocation, byteLength, takenBytes: allocation.byteLength }
  }

  override free(allocation: TierAllocation): Promise<void> {
    return super.free({ ...allocation, byteLength: allocation.takenBytes! })
  }
}
