/**
 * The messages between nodes and master. Batches travel as columns, so that a hot call is a few arrays and
 * not thousands of maps. Fields that a peer does not know are ignored: a newer or older version works.
 */
import { defineMethod, Type, type Static } from '@mooncake-ts/rpc'
import { PackedKeys } from './packed-keys.js'
import {
  BATCH_KEYS_MAX,
  CANDIDATES_MAX,
  KEY_LENGTH_MAX,
  LEASE_GENERATIONS_MAX,
  NAME_LENGTH_MAX,
  PAGE_KEYS_MAX,
  PATTERN_LENGTH_MAX,
  SEGMENTS_PER_NODE_MAX,
} from './limits.js'

/** What a SyncReplicas answers for each add. */
export const ADD_OK = 0
export const ADD_STALE = 1
export const ADD_EXCEEDED = 2

/** What a Remove answers for each key. */
export const REMOVE_ABSENT = 0
export const REMOVE_DONE = 1
/** An owner could not be reached; its name is in `unreachable`. */
export const REMOVE_FAILED = 2

/** The only mode that this master serves. */
export const DEPLOYMENT_MODE = 'P2P'

const Name = Type.String({ minLength: 1, maxLength: NAME_LENGTH_MAX })
const Key = Type.String({ minLength: 1, maxLength: KEY_LENGTH_MAX })
const Keys = Type.Array(Key, { maxItems: BATCH_KEYS_MAX })
const Numbers = Type.Array(Type.Number(), { maxItems: BATCH_KEYS_MAX })
const ByteLength = Type.Integer({ minimum: 0 })
const Empty = Type.Object({})

const Segment = Type.Object({
  name: Name,
  kind: Name,
  priority: Type.Number(),
  tags: Type.Array(Name, { maxItems: 64 }),
  capacityBytes: ByteLength,
  usedBytes: ByteLength,
})
const Segments = Type.Array(Segment, { maxItems: SEGMENTS_PER_NODE_MAX })

/** A registration: its epoch tells it from earlier ones of the same process. */
const Life = { nodeId: Name, epoch: Type.Integer({ minimum: 0 }) }

/**
 * Routes as rows of numbers: `[byteLength, generation, …indexes into replicas]`; null for a key that nobody
 * has.
 */
const Routes = Type.Object({
  replicas: Type.Array(Type.Object({ nodeId: Name, rpcEndpoint: Name, segment: Name })),
  rows: Type.Array(Type.Union([Type.Null(), Type.Array(Type.Number())])),
})
export type RoutesMessage = Static<typeof Routes>

export const Register = defineMethod('Directory.Register', {
  request: Type.Object({
    deploymentMode: Type.String(),
    nodeId: Name,
    name: Name,
    rpcEndpoint: Type.Optional(Name),
    segments: Segments,
  }),
  response: Type.Object({ epoch: Type.Integer(), heartbeatMs: Type.Number(), clientTtlMs: Type.Number() }),
})

export const Unregister = defineMethod('Directory.Unregister', {
  request: Type.Object(Life),
  response: Empty,
})

/** ERR_CLIENT_NOT_FOUND asks the node to register again. */
export const Heartbeat = defineMethod('Directory.Heartbeat', {
  request: Type.Object({ ...Life, segments: Segments }),
  response: Empty,
})

/** One bit a key, the lowest of a byte first: 1 where it is there. */
export const Exists = defineMethod('Directory.Exists', {
  request: PackedKeys,
  response: Type.Object({ present: Type.Uint8Array() }),
})

export const ReadRoutes = defineMethod('Directory.ReadRoutes', {
  request: Type.Object({ keys: Keys }),
  response: Routes,
})

const WriteRouteRequest = Type.Object({
  key: Key,
  byteLength: ByteLength,
  candidatesMax: Type.Integer({ minimum: 0, maximum: CANDIDATES_MAX }),
  preferredSegments: Type.Array(Name, { maxItems: CANDIDATES_MAX }),
})

/**
 * `candidates` has a row for each request: `[index into nodes, availableBytes, score]`, one after the other.
 */
const WriteRoutesResponse = Type.Object({
  /** Of the first request; the others follow one by one. */
  firstGeneration: Type.Integer({ minimum: 1 }),
  existing: Routes,
  nodes: Type.Array(Type.Object({ nodeId: Name, nodeName: Name, rpcEndpoint: Name })),
  candidates: Type.Array(Type.Array(Type.Number())),
})
export type WriteRoutesMessage = Static<typeof WriteRoutesResponse>

export const WriteRoutes = defineMethod('Directory.WriteRoutes', {
  request: Type.Object({
    /** Who writes; its own node counts as local. */
    nodeId: Type.Optional(Name),
    requests: Type.Array(WriteRouteRequest, { maxItems: BATCH_KEYS_MAX }),
  }),
  response: WriteRoutesResponse,
})

/** Numbers and candidates for puts of keys that are not known yet. */
export const LeaseWrites = defineMethod('Directory.LeaseWrites', {
  request: Type.Object({
    nodeId: Type.Optional(Name),
    count: Type.Integer({ minimum: 1, maximum: LEASE_GENERATIONS_MAX }),
    byteLengthMax: ByteLength,
    candidatesMax: Type.Integer({ minimum: 0, maximum: CANDIDATES_MAX }),
  }),
  response: Type.Object({
    firstGeneration: Type.Integer({ minimum: 1 }),
    candidates: Type.Array(
      Type.Object({
        nodeId: Name,
        nodeName: Name,
        rpcEndpoint: Name,
        availableBytes: Type.Number(),
        score: Type.Number(),
      }),
    ),
  }),
})

const Replicas = {
  keys: Keys,
  generations: Numbers,
  /** Indexes into the request's `segments`. */
  segments: Numbers,
}

/**
 * Applied as one: adds, then removes. `sequence` grows with every call of a registration; a call that comes
 * after a later one (a retry that was thought lost) is refused.
 */
const SyncReplicasRequest = Type.Object({
  ...Life,
  sequence: Type.Integer({ minimum: 1, maximum: 2 ** 32 - 1 }),
  segments: Type.Array(Name, { maxItems: SEGMENTS_PER_NODE_MAX }),
  adds: Type.Object({
    ...Replicas,
    byteLengths: Numbers,
    /** One byte an add, 1: only where no healthy node has another value. Absent: all 0. */
    ifAbsent: Type.Optional(Type.Uint8Array({ maxByteLength: BATCH_KEYS_MAX })),
  }),
  removes: Type.Object(Replicas),
})
export type SyncReplicasMessage = Static<typeof SyncReplicasRequest>

export const SyncReplicas = defineMethod('Directory.SyncReplicas', {
  request: SyncReplicasRequest,
  response: Type.Object({ results: Type.Uint8Array() }),
})

/** The node has told everything that it holds. */
export const SyncCompleted = defineMethod('Directory.SyncCompleted', {
  request: Type.Object(Life),
  response: Empty,
})

export const ReportStale = defineMethod('Directory.ReportStale', {
  request: Type.Object({
    routes: Type.Array(Type.Object({ key: Key, nodeId: Name, generation: Type.Optional(Type.Number()) }), {
      maxItems: BATCH_KEYS_MAX,
    }),
  }),
  response: Empty,
})

export const Remove = defineMethod('Directory.Remove', {
  request: Type.Object({ keys: Keys }),
  response: Type.Object({ outcomes: Type.Uint8Array(), unreachable: Type.Array(Name) }),
})

const RemovedMany = Type.Object({ removed: Type.Integer(), unreachable: Type.Array(Name) })

/** For what visits every key of every node. */
const SWEEPING_DEADLINE_MS = 60_000

export const RemoveByRegex = defineMethod('Directory.RemoveByRegex', {
  deadlineMs: SWEEPING_DEADLINE_MS,
  request: Type.Object({ pattern: Type.String({ maxLength: PATTERN_LENGTH_MAX }) }),
  response: RemovedMany,
})

export const RemoveAll = defineMethod('Directory.RemoveAll', {
  deadlineMs: SWEEPING_DEADLINE_MS,
  request: Empty,
  response: RemovedMany,
})

/** A page; the cursor is absent from the last one. */
export const List = defineMethod('Directory.List', {
  request: Type.Object({
    prefix: Type.Optional(Type.String({ maxLength: KEY_LENGTH_MAX })),
    limit: Type.Integer({ minimum: 1, maximum: PAGE_KEYS_MAX }),
    cursor: Type.Optional(Type.Integer({ minimum: 0 })),
  }),
  response: Type.Object({ keys: Type.Array(Key), cursor: Type.Optional(Type.Integer()) }),
})

/** One byte a key: 1 where the node had it, in a generation up to the one given, and has dropped it. */
export const RemoveLocal = defineMethod('Node.RemoveLocal', {
  request: Type.Object({ keys: Keys, generationsMax: Numbers }),
  response: Type.Object({ removed: Type.Uint8Array() }),
})

/**
 * Without a pattern: everything. `sequence` is that of the node's last SyncReplicas before it began: what the
 * master learnt up to there is gone, what came later may be new.
 */
export const RemoveWhere = defineMethod('Node.RemoveWhere', {
  deadlineMs: SWEEPING_DEADLINE_MS / 2,
  request: Type.Object({ pattern: Type.Optional(Type.String({ maxLength: PATTERN_LENGTH_MAX })) }),
  response: Type.Object({ removed: Type.Integer(), sequence: Type.Integer() }),
})
