/**
 * What a sequence lock in shared memory needs besides `Atomics.load` and `Atomics.store`. Those order one thing only: a
 * store comes after what was done before it, a load before what is done after it. The two others are wanted, too; on
 * x64 they come for nothing, on arm64 they do not. There, as anywhere, a load is not done before an earlier store where
 * both are of Atomics: so a pair of them is a fence for everything (Arm Architecture Reference Manual, "barrier-ordered-
 * before": a store-release, then a load-acquire).
 */

/** Nobody reads it. */
const NOBODYS = new Int32Array(1)

/** Stores; nothing that this thread does later is seen by another process before it. */
export function storeBefore(words: Int32Array, index: number, value: number): void {
  Atomics.store(words, index, value)
  Atomics.load(words, index)
}

/** Loads; after everything that this thread has read. */
export function loadAfter(words: Int32Array, index: number): number {
  Atomics.store(NOBODYS, 0, 0)
  return Atomics.load(words, index)
}
