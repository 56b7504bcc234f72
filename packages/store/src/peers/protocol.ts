import { defineMethod, Type, type Static } from '@mooncake-ts/rpc'

/** Keys of one batch call. */
export const BATCH_KEYS_MAX = 65_536
/** UTF-8 bytes; the schema bounds UTF-16 units, the engine's own check is exact. */
export const KEY_BYTES_MAX = 4096

/** What a message may have attached. Beyond, the copies cost more than a transport's round trip. */
export const INLINE_BYTES_MAX = 256 * 1024
/**
 * What an answer may have attached to a reader that reads nothing else just now: one message is quicker than
 * four, as long as the copies on the JavaScript threads hold up nobody.
 */
export const INLINE_ALONE_BYTES_MAX = 4 * INLINE_BYTES_MAX

/** Slices of one value or destination. */
export const PARTS_MAX = 1024

const Key = Type.String({ minLength: 1, maxLength: KEY_BYTES_MAX })
const Count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })
const ErrorCodeText = Type.Optional(Type.String())

const Window = Type.Object({
  scheme: Type.String(),
  endpoint: Type.String(),
  key: Type.Uint8Array({ maxByteLength: 1024 }),
})
/** Memory of the sender, once per transport that it can be reached by, preferred first. */
const Region = Type.Object({ windows: Type.Array(Window, { maxItems: 16 }) })
const Regions = Type.Array(Region, { maxItems: BATCH_KEYS_MAX })
/** Triples [index into regions, offset in the window, byteLength], in the order of the object's bytes. */
const Parts = Type.Array(Count, { maxItems: 3 * PARTS_MAX })

const batchOf = <T extends Parameters<typeof Type.Array>[0]>(item: T) =>
  Type.Array(item, { maxItems: BATCH_KEYS_MAX })

const ReadItem = Type.Object({ key: Key, parts: Parts })
const ReadResult = Type.Object({
  code: ErrorCodeText,
  /** Length of the object, also where it did not fit. */
  byteLength: Count,
  generation: Count,
  checksum: Type.Optional(Count),
})

const ObjectSpec = {
  key: Key,
  byteLength: Count,
  generation: Count,
  checksum: Type.Optional(Count),
  /** Among those that the caller put together; the owner's policy may make use of it. */
  place: Type.Optional(Type.Object({ index: Count, count: Count })),
}
const WriteOptions = {
  upsert: Type.Boolean(),
  softPin: Type.Boolean(),
  hardPin: Type.Boolean(),
  /** How long the owner may wait for space, milliseconds. */
  waitMs: Count,
}
const WriteItem = Type.Object({ ...ObjectSpec, parts: Parts })
const WriteResult = Type.Object({
  code: ErrorCodeText,
  message: Type.Optional(Type.String()),
  /** The key had a value, which was kept. */
  existed: Type.Boolean(),
})

const OperationId = Type.String({ minLength: 1, maxLength: 64 })
const OperationRef = Type.Object({ key: Key, operationId: OperationId })
const Status = Type.Object({ code: ErrorCodeText, message: Type.Optional(Type.String()) })

/** The owner WRITEs the objects into the caller's memory ("reverse"). */
export const ReadRemoteData = defineMethod('Client.ReadRemoteData', {
  request: Type.Object({ regions: Regions, items: batchOf(ReadItem) }),
  response: Type.Object({ results: batchOf(ReadResult) }),
})

/**
 * The objects come with the answer: for small ones, where a transport's round trip would cost more than the
 * copies. Columns instead of objects, because there are many keys. Attached, in the order of the keys, is
 * every object that is neither named in `failed` nor in `postponed`.
 */
export const ReadInline = defineMethod('Client.ReadInline', {
  request: Type.Object({
    keys: batchOf(Key),
    /** Of the destinations. */
    capacities: batchOf(Count),
  }),
  response: Type.Object({
    /** Of the objects, also of those that did not fit; 0 where there is none. */
    byteLengths: batchOf(Count),
    checksums: Type.Optional(batchOf(Type.Union([Count, Type.Null()]))),
    /** Positions of keys, and why they are not attached. */
    failed: batchOf(Count),
    codes: batchOf(Type.String()),
    /** Positions of objects that are too large, or not in memory: to be read by ReadRemoteData. */
    postponed: batchOf(Count),
  }),
})

/**
 * The owner makes room, READs the objects from the caller's memory, commits and announces them ("reverse").
 */
export const WriteRemoteData = defineMethod('Client.WriteRemoteData', {
  request: Type.Object({ regions: Regions, items: batchOf(WriteItem), ...WriteOptions }),
  response: Type.Object({ results: batchOf(WriteResult) }),
})

/**
 * The same with numbers from a lease, in which the owner's life had the id `leasedFor`. A method of its own,
 * because an owner that did not know of leases would take a field of that name for nothing.
 */
export const WriteLeased = defineMethod('Client.WriteLeased', {
  request: Type.Object({
    regions: Regions,
    items: batchOf(WriteItem),
    ...WriteOptions,
    leasedFor: Type.String(),
  }),
  response: Type.Object({ results: batchOf(WriteResult) }),
})

/**
 * As WriteRemoteData, with the bytes of the objects attached one after the other. An owner that has room for
 * some of them only in memory without addresses, or not at once, fails those.
 */
export const WriteInline = defineMethod('Client.WriteInline', {
  request: Type.Object({
    keys: batchOf(Key),
    byteLengths: batchOf(Count),
    generations: batchOf(Count),
    /** The generations come from a lease, in which the owner's life had this id. */
    leasedFor: Type.Optional(Type.String()),
    checksums: Type.Optional(batchOf(Type.Union([Count, Type.Null()]))),
    /** Where each stands among the `batchCount` that the caller put together. */
    batchIndexes: Type.Optional(batchOf(Count)),
    batchCount: Type.Optional(Count),
    upsert: Type.Boolean(),
    softPin: Type.Boolean(),
    hardPin: Type.Boolean(),
  }),
  response: Type.Object({
    /** Positions of keys that had a value, which stays. */
    existed: batchOf(Count),
    failed: batchOf(Count),
    codes: batchOf(Type.String()),
    messages: batchOf(Type.String()),
  }),
})

/** The owner makes room and lets the caller WRITE into it until the lease runs out ("forward"). */
export const PreWrite = defineMethod('Client.PreWrite', {
  request: Type.Object({ items: batchOf(Type.Object(ObjectSpec)), ...WriteOptions }),
  response: Type.Object({
    results: batchOf(
      Type.Object({
        code: ErrorCodeText,
        message: Type.Optional(Type.String()),
        existed: Type.Boolean(),
        operationId: Type.Optional(OperationId),
        region: Type.Optional(Region),
        leaseMs: Type.Optional(Count),
      }),
    ),
  }),
})

export const WriteCommit = defineMethod('Client.WriteCommit', {
  request: Type.Object({ items: batchOf(OperationRef) }),
  response: Type.Object({ results: batchOf(WriteResult) }),
})

/** Fine also for an operation that is not there any more. */
export const WriteRevoke = defineMethod('Client.WriteRevoke', {
  request: Type.Object({ items: batchOf(OperationRef) }),
  response: Type.Object({ results: batchOf(Status) }),
})

/**
 * The owner keeps the object where it is and lets the caller READ it until the lease runs out ("forward").
 */
export const PinKey = defineMethod('Client.PinKey', {
  request: Type.Object({
    keys: batchOf(Key),
    /** Of the transports that the caller will use. Default: any. */
    schemes: Type.Optional(Type.Array(Type.String(), { maxItems: 16 })),
    /** Pins that it has done with; lost at an owner that does not know the field, where they run out. */
    letGo: Type.Optional(batchOf(OperationRef)),
  }),
  response: Type.Object({
    results: batchOf(
      Type.Object({
        code: ErrorCodeText,
        byteLength: Count,
        generation: Count,
        checksum: Type.Optional(Count),
        operationId: Type.Optional(OperationId),
        region: Type.Optional(Region),
        leaseMs: Type.Optional(Count),
      }),
    ),
  }),
})

/** The leases run anew from now, for as long as that of PinKey. */
export const RenewPinKey = defineMethod('Client.RenewPinKey', {
  request: Type.Object({ items: batchOf(OperationRef) }),
  response: Type.Object({ results: batchOf(Status) }),
})

export const UnPinKey = defineMethod('Client.UnPinKey', {
  request: Type.Object({ items: batchOf(OperationRef) }),
  response: Type.Object({ results: batchOf(Status) }),
})

/**
 * Memory that says where the objects of this node lie, and the Regions that they lie in, for neighbours: `PlaceTable`.
 * No table where nobody could map it. Where there is none yet, who does not know whether it is a neighbour gets a
 * window by which to see that: a table is not made for peers on other hosts.
 */
export const OpenPlaces = defineMethod('Client.OpenPlaces', {
  request: Type.Object({
    isNeighbour: Type.Boolean(),
    /** Memory that says what the caller looks at: `PinTable`. Not while it is no neighbour. */
    pins: Type.Optional(Region),
  }),
  response: Type.Object({
    table: Type.Optional(Region),
    /** Absent: `table` is none yet. */
    tableBytes: Type.Optional(Count),
    /** By the numbers in the table. */
    regions: Regions,
    /** For how long the `pins` count after a beat. Absent: not at all. */
    pinLeaseMs: Type.Optional(Count),
  }),
})

/** These were read by a neighbour, as often as they are named. */
export const CountUses = defineMethod('Client.CountUses', {
  request: Type.Object({ keys: batchOf(Key) }),
  response: Type.Object({}),
})

export type WireRegion = Static<typeof Region>
export type ReadRequest = { regions: WireRegion[]; items: Array<Static<typeof ReadItem>> }
export type ReadResultItem = Static<typeof ReadResult>
export type WriteItemSpec = Static<typeof WriteItem>
export type WriteResultItem = Static<typeof WriteResult>
