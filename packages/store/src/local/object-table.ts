import type { BatchPlace, EvictionPolicyFactory, Tier } from '@mooncake-ts/core'
import { LruPolicy } from '../policies/lru.js'
import { EvictionOrder, type OrderMember } from './eviction-order.js'
import type { Holding } from './holding.js'
import { KeyMap } from './key-map.js'

/** What is known of an object beside its bytes. */
export interface ObjectMeta {
  readonly key: string
  /** A safe integer; the greater one of a key is the newer one. */
  readonly generation: number
  readonly byteLength: number
  /** CRC-32C of the bytes, where it was asked for. */
  readonly checksum?: number
  /** Evicted only when nothing else is left. */
  readonly softPin: boolean
  /** Never evicted. */
  readonly hardPin: boolean
  /** Among those that were put together; told to the policy, and not kept. */
  readonly place?: BatchPlace
}

/** What a tier found of an earlier life has no pins. */
type NewObject = Omit<ObjectMeta, 'softPin' | 'hardPin'> & Partial<ObjectMeta>

/** The current object of a key. It never changes but for its replicas: a new generation is a new object. */
export class StoredObject implements ObjectMeta {
  readonly key: string
  readonly generation: number
  readonly byteLength: number
  readonly checksum: number | undefined
  readonly softPin: boolean
  readonly hardPin: boolean
  /** Fastest tier first; never empty while the object is in the table. */
  replicas: readonly Replica[] = []

  constructor(meta: NewObject) {
    this.key = meta.key
    this.generation = meta.generation
    this.byteLength = meta.byteLength
    this.checksum = meta.checksum
    this.softPin = meta.softPin ?? false
    this.hardPin = meta.hardPin ?? false
  }
}

/** One whole copy of an object in one tier. The table owns one hold on it until it drops it. */
export class Replica implements OrderMember {
  readonly object: StoredObject
  readonly holding: Holding
  /** Where it waits for its eviction; none for a hard pin, and for one that left the table. */
  order: EvictionOrder<Replica> | undefined
  slot = -1
  readers = 0

  constructor(object: StoredObject, holding: Holding, order: EvictionOrder<Replica> | undefined) {
    this.object = object
    this.holding = holding
    this.order = order
  }

  get key(): string {
    return this.object.key
  }

  get byteLength(): number {
    return this.object.byteLength
  }

  /** What its eviction gives back. */
  get takenBytes(): number {
    return this.holding.takenBytes
  }
}

/** What one tier holds. What is being read is held in its order: evicting it would free nothing. */
class TierOrder {
  readonly ordinary: EvictionOrder<Replica>
  /** They are few, and last: whatever the policy, the least recently used one goes first. */
  readonly softPinned = new EvictionOrder<Replica>(new LruPolicy())
  keyCount = 0

  constructor(tier: Tier, policy: EvictionPolicyFactory) {
    this.ordinary = new EvictionOrder(policy.create({ capacityBytes: tier.capacityBytes }))
  }

  orderOf(meta: ObjectMeta): EvictionOrder<Replica> | undefined {
    if (meta.hardPin) return undefined
    return meta.softPin ? this.softPinned : this.ordinary
  }
}

/** So many in a row are passed over; then one goes although it is viewed, and frees its space when it is not. */
const VIEWED_PER_VICTIM_MAX = 1024

/**
 * Keys to current objects, and who is next to go in each tier. Looking up, touching and finding a victim take
 * constant time, but for victims that are viewed, each of which is passed over once. It knows nothing of bytes and their tiers' I/O, and it gives up no
 * hold: that is for whoever took the replica out.
 */
export class ObjectTable {
  readonly #objects = new KeyMap<StoredObject>()
  readonly #orders = new Map<Tier, TierOrder>()
  readonly #isViewed: (replica: Replica) => boolean

  /**
   * @param policy for each tier, an instance of its own
   * @param isViewed somebody reads it who has not said so; `endRead` is called when nobody does any more
   */
  constructor(
    tiers: readonly Tier[],
    policy: EvictionPolicyFactory,
    isViewed: (replica: Replica) => boolean = () => false,
  ) {
    this.#isViewed = isViewed
    for (const tier of tiers) this.#orders.set(tier, new TierOrder(tier, policy))
  }

  get size(): number {
    return this.#objects.size
  }

  get(key: string): StoredObject | undefined {
    return this.#objects.get(key)
  }

  /** Safe while the table changes: what goes before its turn is left out. */
  values(): IterableIterator<StoredObject> {
    return this.#objects.values()
  }

  /**
   * Makes this the current object of its key. The one before, if any, is gone from the table; its replicas
   * are the caller's to release.
   */
  set(
    meta: NewObject,
    holding: Holding,
  ): { readonly current: StoredObject; readonly previous: StoredObject | undefined } {
    const current = new StoredObject(meta)
    const previous = this.#objects.set(meta.key, current)
    previous?.replicas.forEach(replica => {
      this.#unlink(replica)
    })
    this.addReplica(current, holding, meta.place)
    return { current, previous }
  }

  /** The same for a key that has none. */
  add(meta: NewObject, holding: Holding): StoredObject {
    const current = new StoredObject(meta)
    this.#objects.add(meta.key, current)
    this.addReplica(current, holding, meta.place)
    return current
  }

  /** Another copy of a current object, in a tier that has none of it. */
  addReplica(object: StoredObject, holding: Holding, place?: BatchPlace): void {
    const order = this.#orderOf(holding.tier)
    const replica = new Replica(object, holding, order.orderOf(object))
    object.replicas = inserted(object.replicas, replica)
    order.keyCount++
    replica.order?.add(replica, place)
  }

  /** Forgets the object with all its replicas, which are the caller's to release. */
  delete(object: StoredObject): void {
    object.replicas.forEach(replica => {
      this.#unlink(replica)
    })
    this.#objects.delete(object.key)
  }

  /**
   * Forgets one replica, which is the caller's to release; with the last one the object goes too.
   *
   * @param evicted it was the victim, and may be wanted again
   */
  deleteReplica(replica: Replica, evicted = false): void {
    const { object } = replica
    if (object.replicas.length === 1) this.#objects.delete(object.key)
    else object.replicas = object.replicas.filter(other => other !== replica)
    this.#unlink(replica, evicted)
  }

  /** False once the replica was dropped, whatever has taken its place. */
  has(replica: Replica): boolean {
    return (
      this.#objects.get(replica.object.key) === replica.object && replica.object.replicas.includes(replica)
    )
  }

  /**
   * Keeps the replica from being evicted for as long as it has readers; the object counts as used in every tier.
   */
  beginRead(replica: Replica): void {
    if (replica.readers++ === 0) replica.order?.hold(replica)
    this.use(replica)
  }

  /** The object counts as used in every tier. */
  use({ object }: Replica): void {
    for (const copy of object.replicas) copy.order?.use(copy)
  }

  /**
   * As `beginRead`, for a reader of this node's own that copies it to another tier: that is no use of the
   * object. Ends with `endRead`.
   */
  beginCopy(replica: Replica): void {
    if (replica.readers++ === 0) replica.order?.hold(replica)
  }

  /** True when the last reader has left and the replica can be evicted again. */
  endRead(replica: Replica): boolean {
    if (--replica.readers > 0 || replica.order == null) return false
    replica.order.release(replica)
    return true
  }

  /**
   * Who goes next in a tier: whom the policy says, a soft-pinned one only when there is no other and `softPins` allows.
   * Not what is viewed, which would free nothing; it is out of the order until nobody views it.
   */
  victim(tier: Tier, softPins: boolean): Replica | undefined {
    const { ordinary, softPinned } = this.#orderOf(tier)
    for (let viewed = 0; ; viewed++) {
      const victim = ordinary.victim ?? (softPins ? softPinned.victim : undefined)
      if (victim == null || viewed === VIEWED_PER_VICTIM_MAX || !this.#isViewed(victim)) return victim
      this.beginCopy(victim)
    }
  }

  evictableBytes(tier: Tier, softPins: boolean): number {
    const { ordinary, softPinned } = this.#orderOf(tier)
    return ordinary.evictableBytes + (softPins ? softPinned.evictableBytes : 0)
  }

  keyCount(tier: Tier): number {
    return this.#orderOf(tier).keyCount
  }

  #orderOf(tier: Tier): TierOrder {
    return this.#orders.get(tier)!
  }

  #unlink(replica: Replica, evicted = false): void {
    replica.order?.delete(replica, { evicted, held: replica.readers > 0 })
    replica.order = undefined
    this.#orderOf(replica.holding.tier).keyCount--
  }
}

/** By copying: an array that grows in place makes room for 16 more, which millions of objects never have. */
function inserted(replicas: readonly Replica[], replica: Replica): readonly Replica[] {
  if (replicas.length === 0) return [replica]
  const { priority } = replica.holding.tier
  const slower = replicas.findIndex(other => other.holding.tier.priority < priority)
  return replicas.toSpliced(slower < 0 ? replicas.length : slower, 0, replica)
}
