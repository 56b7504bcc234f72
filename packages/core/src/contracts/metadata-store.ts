/** Coordination back end (http, etcd, redis): a small key-value store with versions. Not for objects. */
export interface MetadataStore {
  get(
    key: string,
    signal?: AbortSignal,
  ): Promise<{ readonly value: Uint8Array; readonly version: number } | undefined>
  /** Unconditional when `expectedVersion` is absent; 0 means "must not exist". @throws ERR_CAS_FAILED */
  put(
    key: string,
    value: Uint8Array,
    options?: { readonly expectedVersion?: number; readonly signal?: AbortSignal },
  ): Promise<number>
  /** False when it was not there. */
  delete(key: string, signal?: AbortSignal): Promise<boolean>
  list(prefix: string, signal?: AbortSignal): Promise<string[]>
}
