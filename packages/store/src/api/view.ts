/**
 * A window on the bytes of an object, until it is disposed of. The object's memory is not used for anything
 * else meanwhile, also when its key is replaced, removed or evicted.
 */
export interface ObjectView extends Disposable {
  readonly key: string
  /**
   * For reading only: the memory is mapped so, and a write ends the process. Empty once the view is disposed
   * of, as is every other array over its buffer.
   */
  readonly bytes: Uint8Array
  /**
   * Where the bytes are: in memory of this process that belongs to the pool, in that of another process of
   * this host, or in a copy of their own.
   */
  readonly source: 'local' | 'shared' | 'copy'
  /**
   * Whether the bytes are those of the object. The owner of a shared view keeps them for as long as this
   * process runs: it sees that in memory that the two share, or hears it in renewals of a pin. When it has seen
   * and heard nothing for its `keyLeaseMs`, because this process was stopped or busy, it may use the memory for
   * another object; before it does, this is false, for good. So read first, then ask. When an owner has died,
   * nobody changes the bytes any more, although this may become false all the same.
   */
  readonly valid: boolean
}
