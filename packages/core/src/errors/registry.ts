/** One condition that callers can meet. `code` is stable between majors; the wording is not. */
export interface ErrorDefinition {
  /** The reference system's number, where it has one for the same condition. */
  readonly number?: number
  /** Trying the same call again later may succeed. */
  readonly retryable: boolean
  /** What happened, in one line. */
  readonly summary: string
  /** What it means and what to do, for docs/ERRORS.md. */
  readonly doc: string
}

const define = <T extends Record<string, ErrorDefinition>>(table: T): T => table

/** Every error that leaves a public API. Numbers are those of Mooncake's `ErrorCode`. */
export const ERRORS = define({
  // ---- objects
  ERR_OBJECT_NOT_FOUND: {
    number: -704,
    retryable: false,
    summary: 'No such object',
    doc: 'Nobody in the cluster has the key. A `get` answers a miss with `undefined`; this code is what batch completions and RPCs carry.',
  },
  ERR_OBJECT_ALREADY_EXISTS: {
    number: -705,
    retryable: false,
    summary: 'The key has a value already',
    doc: 'Objects are immutable. `put` treats this as success and keeps the old value; use `upsert` to replace it. Reserved: nothing throws it.',
  },
  ERR_OBJECT_HAS_LEASE: {
    number: -706,
    retryable: true,
    summary: 'A reader holds the object',
    doc: 'The object was pinned by a reader. Try again when the lease has run out. Reserved: nothing throws it, for readers here delay only the reuse of space.',
  },
  ERR_LEASE_EXPIRED: {
    number: -707,
    retryable: true,
    summary: 'The lease ran out before the operation ended',
    doc: 'A PreWrite or PinKey was not finished within its lease. The space was taken back; nothing was committed. Begin again.',
  },
  ERR_REPLICA_IS_PROCESSING: {
    number: -703,
    retryable: true,
    summary: 'Another writer is writing this key',
    doc: 'A PreWrite for the same key is open. Wait for it, or let its lease run out.',
  },
  ERR_REPLICA_NUM_EXCEEDED: {
    retryable: false,
    summary: 'Enough nodes hold the key already',
    doc: 'The master was started with --max_client_per_key and that many nodes have the key. The node drops the surplus replica, and the put succeeds: the key has a value. Reserved: nothing throws it.',
  },
  ERR_CAS_FAILED: {
    number: -301,
    retryable: true,
    summary: 'The value was changed by somebody else',
    doc: 'The generation that the caller expected is not the current one. Read again and decide anew. Reserved for a `MetadataStore`, which no plugin provides yet.',
  },
  ERR_INVALID_WRITE: {
    number: -700,
    retryable: false,
    summary: 'The write was not begun by this caller',
    doc: 'The write operation id does not belong to the open write of this key.',
  },
  ERR_BUFFER_OVERFLOW: {
    number: -10,
    retryable: false,
    summary: 'The destination is smaller than the object',
    doc: 'The slice given to a get is shorter than the object. `size` tells how much is needed.',
  },
  ERR_NO_AVAILABLE_HANDLE: {
    number: -200,
    retryable: true,
    summary: 'No space, also after eviction',
    doc: 'The tiers are full of objects that cannot be evicted (pinned, or being read), and the deadline of the put passed before space came free. Add capacity, or put fewer pins.',
  },
  ERR_NO_AVAILABLE_CANDIDATE: {
    number: -106,
    retryable: true,
    summary: 'No node can take the object',
    doc: 'The master knows no healthy node with enough capacity for a value of this size.',
  },
  ERR_CHECKSUM_MISMATCH: {
    number: -801,
    retryable: true,
    summary: 'The bytes are not those that were put',
    doc: 'The CRC-32C of what was read differs from the one computed at put. The replica is not used; the next one is tried.',
  },
  ERR_INVALID_KEY: {
    number: -400,
    retryable: false,
    summary: 'The key is not usable',
    doc: 'Keys are non-empty strings of at most 4096 UTF-8 bytes.',
  },
  // ---- transfers and memory
  ERR_TRANSFER_FAIL: {
    number: -800,
    retryable: true,
    summary: 'The bytes could not be moved',
    doc: 'The connection to the peer ended, or no transport reaches it. The cause says more.',
  },
  ERR_ACCESS_DENIED: {
    number: -1603,
    retryable: false,
    summary: 'The remote memory may not be reached that way',
    doc: 'The window is unknown or revoked, its token is wrong, the range is outside of it, or it does not allow this direction. Nothing was written.',
  },
  ERR_SLICE_OUT_OF_BOUNDS: {
    retryable: false,
    summary: 'The slice lies outside of its region',
    doc: 'Offset and length must be non-negative safe integers inside the region.',
  },
  ERR_REGION_CLOSED: {
    retryable: false,
    summary: 'The region was closed',
    doc: 'The memory was given up by its owner before the operation was posted.',
  },
  ERR_OUT_OF_MEMORY: {
    retryable: true,
    summary: 'The system refused the memory',
    doc: 'A region could not be made: mmap or ftruncate failed. The message has the size and the system error; check the container limit, huge page pools and /dev/shm accounting.',
  },
  ERR_OVERLOADED: {
    retryable: true,
    summary: 'Too much is in flight',
    doc: 'A hard limit on operations or bytes in flight was reached. Wait for something to settle and try again.',
  },
  // ---- rpc and cluster
  ERR_RPC_FAIL: {
    number: -900,
    retryable: true,
    summary: 'The peer could not be reached or went away',
    doc: 'Connecting failed, or the connection ended before the answer came. Whether the request was carried out is unknown.',
  },
  ERR_RPC_TIMEOUT: {
    number: -901,
    retryable: true,
    summary: 'The deadline passed',
    doc: 'No answer came within the deadline. Whether the request was carried out is unknown.',
  },
  ERR_RPC_METHOD_UNKNOWN: {
    retryable: false,
    summary: 'The peer does not have this method',
    doc: 'It runs an older version, or another service listens there.',
  },
  ERR_RPC_METHOD_TAKEN: {
    retryable: false,
    summary: 'The method has a handler already',
    doc: 'Two parts of one process serve the same RPC method.',
  },
  ERR_PROTOCOL: {
    retryable: false,
    summary: 'The peer does not speak this protocol',
    doc: 'A frame was malformed, too large, or of an unknown version. The connection was closed; the listener goes on.',
  },
  ERR_UNAUTHENTICATED: {
    retryable: false,
    summary: 'The peer does not know the cluster secret',
    doc: 'Both ends need the same MOONCAKE_CLUSTER_SECRET (or --cluster_secret_file).',
  },
  ERR_INSECURE_BIND: {
    retryable: false,
    summary: 'Refused to listen beyond loopback without a secret',
    doc: 'Set a cluster secret, or pass --allow_insecure if the network itself is trusted.',
  },
  ERR_ADDRESS_IN_USE: {
    retryable: true,
    summary: 'The port is taken',
    doc: 'Another process listens there. Choose another port, or 0 for any.',
  },
  ERR_CLIENT_NOT_FOUND: {
    number: -103,
    retryable: true,
    summary: 'The master does not know this node',
    doc: 'The master was restarted or dropped the node after missed heartbeats. The node registers again by itself.',
  },
  ERR_SEGMENT_NOT_FOUND: {
    number: -101,
    retryable: false,
    summary: 'No such segment',
    doc: 'No node has a segment of this name.',
  },
  ERR_MASTER_UNAVAILABLE: {
    number: -1010,
    retryable: true,
    summary: 'The master cannot be reached',
    doc: 'The node works from what it holds and has cached until the master is back.',
  },
  ERR_SHUTTING_DOWN: {
    number: -1601,
    retryable: true,
    summary: 'The process is stopping',
    doc: 'It takes no new work. Another replica or a later try may succeed.',
  },
  // ---- parameters and composition
  ERR_INVALID_PARAMS: {
    number: -600,
    retryable: false,
    summary: 'A parameter is not valid',
    doc: 'The message names the field by its path and says what is wanted.',
  },
  ERR_CONFIG: {
    retryable: false,
    summary: 'The configuration is not valid',
    doc: 'The message names the flag or the path in the file, and says what is wanted. The process exits with 2.',
  },
  ERR_NOT_SUPPORTED: {
    number: -1012,
    retryable: false,
    summary: 'This part cannot do that',
    doc: 'Its `supports` says so. Nothing was done.',
  },
  ERR_PLUGIN_UNMET_REQUIREMENT: {
    retryable: false,
    summary: 'A plugin needs something that no plugin provides',
    doc: 'Add a plugin that provides the named token to the composition.',
  },
  ERR_PLUGIN_API_VERSION: {
    retryable: false,
    summary: 'A plugin was made for another major of core',
    doc: 'Install versions of the plugin and of @mooncake-ts/core that fit together.',
  },
  ERR_PLUGIN_START: {
    retryable: false,
    summary: 'A plugin failed to start',
    doc: 'The cause says why. Everything that had started was stopped again.',
  },
  ERR_NATIVE_MISSING: {
    retryable: false,
    summary: 'The native part of a package could not be loaded',
    doc: 'No prebuilt binary fits this platform and none was built. The message lists what was tried; `npm run build:native` builds from source.',
  },
  ERR_NATIVE_VERSION_MISMATCH: {
    retryable: false,
    summary: 'The native part is of another version',
    doc: 'JavaScript and binary of one package do not belong together. Install again, or rebuild.',
  },
  ERR_IO: {
    retryable: false,
    summary: 'An input or output operation failed',
    doc: 'The system refused an operation on a file or a device. The message has the system error.',
  },
  ERR_NO_SPACE: {
    retryable: true,
    summary: 'The file system is full',
    doc: 'A file could not get the space that it needs. Give the tier less capacity, or its file system more; nothing that was committed before is lost.',
  },
  ERR_DIRECTORY_IN_USE: {
    retryable: true,
    summary: 'Another process uses the directory',
    doc: 'A directory of a persistent tier belongs to one process at a time. Stop the other one, or give each its own directory. The lock goes with the process, so it never has to be removed by hand.',
  },
  ERR_DIRECTORY_FOREIGN: {
    retryable: false,
    summary: 'The directory belongs to somebody else',
    doc: 'The directory was made for another cluster, by another version of the format, or its superblock is damaged. Nothing was changed in it. Take another directory, or remove its files if nobody needs them.',
  },
  ERR_INTERNAL: {
    number: -1,
    retryable: false,
    summary: 'An unexpected error',
    doc: 'A bug of ours, or of a plugin. The log of the process that reports it has the stack.',
  },
})

export type ErrorCode = keyof typeof ERRORS

export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(ERRORS, value)
}
