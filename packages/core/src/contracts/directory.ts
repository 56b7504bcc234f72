import type { Observable } from 'rxjs'

/** A node as the directory knows it. */
export interface NodeInfo {
  /** Random, new for every start of a process: tells a restarted node from its former life. */
  readonly nodeId: string
  readonly name: string
  /** Where its RpcService is reached; absent for a pure client. */
  readonly rpcEndpoint?: string
  readonly segments: readonly SegmentInfo[]
}

export interface SegmentInfo {
  /** `<node name>/<tier name>` */
  readonly name: string
  readonly kind: string
  readonly priority: number
  readonly tags: readonly string[]
  readonly capacityBytes: number
  readonly usedBytes: number
}

/** One node that can serve a key. */
export interface ReplicaRoute {
  readonly nodeId: string
  readonly rpcEndpoint: string
  readonly segment: string
}

export interface ReadRoute {
  readonly byteLength: number
  readonly generation: number
  readonly replicas: readonly ReplicaRoute[]
}

export interface WriteRouteRequest {
  readonly key: string
  readonly byteLength: number
  /** Candidates wanted, best first. */
  readonly candidatesMax: number
  /** Node or segment names to put first. */
  readonly preferredSegments: readonly string[]
}

export interface WriteCandidate {
  readonly nodeId: string
  readonly nodeName: string
  readonly rpcEndpoint: string
  readonly availableBytes: number
  readonly score: number
}

export interface WriteRoute {
  /** Set when the key is there already: who has it. */
  readonly existing?: ReadRoute
  readonly candidates: readonly WriteCandidate[]
  /** For the object to be written: no other write has it, and a later write has a greater one. */
  readonly generation: number
}

/**
 * Leave to put some objects that are not named yet: candidates for them, and numbers. A put with such a number
 * is not ordered after everything that was numbered before it, as one with a write route is: its owner has to
 * refuse a number that is not above that of every object which has left it (see the store's Committer).
 */
export interface WriteLease {
  /** The first of as many generations as were asked for, which no other write has. */
  readonly firstGeneration: number
  readonly candidates: readonly WriteCandidate[]
}

export interface ReplicaAdd {
  readonly key: string
  readonly byteLength: number
  readonly generation: number
  /** Segment name. */
  readonly segment: string
  /** Of a put: `stale` when healthy nodes have another value, also an older one (I5). @defaultValue false */
  readonly ifAbsent?: boolean
}

export interface ReplicaRemove {
  readonly key: string
  readonly segment: string
  /** Ignored where the directory knows a newer generation in that segment. */
  readonly generation: number
}

/**
 * `ok`: recorded. `stale`: a value is known that stays, the caller should drop its replica.
 * `exceeded`: enough owners have it already, likewise.
 */
export type ReplicaAddResult = 'ok' | 'stale' | 'exceeded'

export interface DirectoryHandlers {
  /** The directory asks this node to drop keys up to a generation; answers how many it held. */
  removeLocal(keys: readonly string[], generationMax: number): Promise<number>
  /** The directory asks to drop everything, or what a regular expression matches. */
  removeWhere(pattern: string | undefined): Promise<number>
  /** Everything this node holds, for the directory to be complete again. */
  snapshot(): Iterable<ReplicaAdd>
  /** Fresh usage for the heartbeat. */
  segments(): readonly SegmentInfo[]
}

/** `away`: unreachable; the node serves what it holds and what it has cached. */
export type DirectoryState = 'joining' | 'connected' | 'away'

/** What a node asks of the master. Soft state about keys: their owners hold the truth. */
export interface Directory {
  readonly state: DirectoryState
  readonly state$: Observable<DirectoryState>
  /**
   * After this much silence a node counts as gone, and removals settle without it; it is heard at least twice as often.
   * Undefined before the first `join` has settled. @defaultValue 10 000
   */
  readonly silenceMsMax?: number | undefined
  /**
   * Registers and keeps heartbeats going until `leave`. Settles when first registered or when `signal`
   * aborts.
   */
  join(node: NodeInfo, handlers: DirectoryHandlers, signal: AbortSignal): Promise<void>
  leave(): Promise<void>
  exists(keys: readonly string[], signal?: AbortSignal): Promise<boolean[]>
  readRoutes(keys: readonly string[], signal?: AbortSignal): Promise<Array<ReadRoute | undefined>>
  writeRoutes(requests: readonly WriteRouteRequest[], signal?: AbortSignal): Promise<WriteRoute[]>
  /** Optional: without it every put asks for a route. */
  leaseWrites?(
    request: {
      /** Objects. */
      readonly count: number
      readonly byteLengthMax: number
      readonly candidatesMax: number
    },
    signal?: AbortSignal,
  ): Promise<WriteLease>
  syncReplicas(
    adds: readonly ReplicaAdd[],
    removes: readonly ReplicaRemove[],
    signal?: AbortSignal,
  ): Promise<ReplicaAddResult[]>
  /**
   * A route led to a node that does not have the key. With the route's generation, a newer replica that the
   * node reported meanwhile is safe.
   */
  reportStale(
    routes: ReadonlyArray<{ readonly key: string; readonly nodeId: string; readonly generation?: number }>,
  ): Promise<void>
  /**
   * True where the key was there. The owners have dropped it when this settles, or the error says which could
   * not be reached.
   */
  remove(keys: readonly string[], signal?: AbortSignal): Promise<boolean[]>
  removeByRegex(pattern: string, signal?: AbortSignal): Promise<number>
  removeAll(signal?: AbortSignal): Promise<number>
  /** Keys in no order, one page after another, at most `limit`. */
  list(
    options?: { readonly prefix?: string; readonly limit?: number },
    signal?: AbortSignal,
  ): Promise<string[]>
}
