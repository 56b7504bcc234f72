import type { Sample } from './compare.js'
import { quantile } from './stats.js'

export interface MeasureOptions {
  readonly durationMs: number
  /** Default: 3. */
  readonly callsMin?: number
  /** Calls under way at a time. Default: 1. */
  readonly depth?: number
  /** What a unit of `once` is worth in the unit of the figure, e.g. 1e-9 for bytes in GB/s. Default: 1. */
  readonly scale?: number
}

/**
 * Calls `once` again and again for about `durationMs`. The value is units per second; the quantiles are of
 * single calls.
 *
 * @param once gives how many units (bytes, keys, calls) it did
 */
export async function measure(
  once: () => Promise<number>,
  { durationMs, callsMin = 3, depth = 1, scale = 1 }: MeasureOptions,
): Promise<Sample> {
  const micros: number[] = []
  let units = 0
  let calls = 0
  const begunMs = performance.now()
  const worker = async (): Promise<void> => {
    for (let nowMs = begunMs; calls < callsMin || nowMs - begunMs < durationMs;) {
      calls++
      const done = await once() // Not `units += await`: that would read `units` before.
      units += done
      const endMs = performance.now()
      micros.push((endMs - nowMs) * 1000)
      nowMs = endMs
    }
  }
  await Promise.all(Array.from({ length: depth }, worker))
  const seconds = (performance.now() - begunMs) / 1000
  return { value: (units * scale) / seconds, p50Us: quantile(micros, 0.5), p99Us: quantile(micros, 0.99) }
}
