/**
 * Keys in one RPC, refused beyond by the schema. A batch of this size is applied in one go, in about 20 ms.
 */
export const BATCH_KEYS_MAX = 16_384

/** Keys that our own client puts into one RPC; it splits larger calls. */
export const CLIENT_BATCH_KEYS = 4096

/** UTF-16 units; the store checks UTF-8 bytes. */
export const KEY_LENGTH_MAX = 4096

/** UTF-8, of which a UTF-16 unit takes up to three bytes. */
export const KEY_BYTES_MAX = 3 * KEY_LENGTH_MAX

export const PATTERN_LENGTH_MAX = 1024

export const NAME_LENGTH_MAX = 512

export const SEGMENTS_PER_NODE_MAX = 256

export const CANDIDATES_MAX = 64

/** Entries of the route table that a scan visits before it lets the event loop go on. */
export const SLICE_ENTRIES = 8192

/** Keys of one page of List. */
export const PAGE_KEYS_MAX = 8192

/** Numbers of one LeaseWrites: a generation clock has 2048 for each millisecond of wall time. */
export const LEASE_GENERATIONS_MAX = 4096
