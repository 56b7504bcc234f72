import type { CallOptions, GetOptions, Payload, PutEntry, PutOptions } from './options.js'
import type { ObjectView } from './view.js'
import type { DirectoryState, PluginReport, Region, Slice, Transfer } from '@mooncake-ts/core'

/** A node of the cluster, seen by the program that runs in it. */
export interface Store extends AsyncDisposable {
  readonly name: string
  readonly directoryState: DirectoryState
  /**
   * Keeps the old value where the key has one (I5). A put that settled is visible to every node.
   * @throws ERR_NO_AVAILABLE_HANDLE, ERR_INVALID_KEY, …
   */
  put(key: string, value: Payload, options?: PutOptions): Promise<void>
  /** Writes a new generation beside the old one and swaps at commit; a failure loses nothing. */
  upsert(key: string, value: Payload, options?: PutOptions): Promise<void>
  /** One completion per entry, `index` into the array. */
  putMany(entries: readonly PutEntry[], options?: PutOptions & { readonly upsert?: boolean }): Transfer
  /** The value, or undefined for a miss; an empty value is an empty array. */
  get(key: string, options?: GetOptions): Promise<Uint8Array | undefined>
  /**
   * Bytes written to `into`, or undefined for a miss.
   * @throws ERR_BUFFER_OVERFLOW when `into` is too small
   */
  getInto(key: string, into: Slice | Uint8Array, options?: GetOptions): Promise<number | undefined>
  /** One completion per key; a miss is a completion with ERR_OBJECT_NOT_FOUND. */
  getMany(
    keys: readonly string[],
    options: GetOptions & { readonly into: ReadonlyArray<Slice | Uint8Array> },
  ): Transfer
  /**
   * The value where it lies, without a copy: in this process, or in another one of this host. Undefined for a
   * miss. Where no transport can show it, a copy with the same interface. Dispose of it soon: it pins memory.
   * @throws ERR_OVERLOADED for more than `limits.viewsMax`
   */
  getView(key: string, options?: CallOptions): Promise<ObjectView | undefined>
  /** In the order of the keys; one request for each owner. A failure leaves none of them open. */
  getViews(keys: readonly string[], options?: CallOptions): Promise<Array<ObjectView | undefined>>
  exists(key: string, options?: CallOptions): Promise<boolean>
  /** In the order of the keys. */
  existsMany(keys: readonly string[], options?: CallOptions): Promise<boolean[]>
  /** Bytes, or undefined for a miss. */
  size(key: string, options?: CallOptions): Promise<number | undefined>
  /** True where it was there. */
  remove(key: string, options?: CallOptions): Promise<boolean>
  removeMany(keys: readonly string[], options?: CallOptions): Promise<boolean[]>
  /** How many objects went. */
  removeByRegex(pattern: string, options?: CallOptions): Promise<number>
  removeAll(options?: CallOptions): Promise<number>
  list(options?: CallOptions & { readonly prefix?: string; readonly limit?: number }): Promise<string[]>
  /** A Region for `into` and for payloads that are put without a copy. The caller closes it. */
  createRegion(byteLength: number): Region
  /** What this node is composed of, with options and start times. */
  explain(): PluginReport[]
  /** Drains and stops. Idempotent; the same as `await using`. */
  close(): Promise<void>
}
