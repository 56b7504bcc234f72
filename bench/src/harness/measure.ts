import { quantile } from './stats.js'

export interface Measurement {
  /** Units per second, of whatever a call gives back. */
  readonly perSecond: number
  readonly p50Us: number
  readonly p99Us: number
}

/**
 * Calls `once` one after another for about `durationMs`, at least `callsMin` times.
 *
 * @param once gives how many units (bytes, keys, calls) it did
 */
export async function measure(
  once: (call: number) => Promise<number>,
  { durationMs, callsMin = 3 }: { readonly durationMs: number; readonly callsMin?: number },
): Promise<Measurement> {
  const micros: number[] = []
  let units = 0
  const begunMs = performance.now()
  for (let call = 0, nowMs = begunMs; call < callsMin || nowMs - begunMs < durationMs; call++) {
    units += await once(call)
    const endMs = performance.now()
    micros.push((endMs - nowMs) * 1000)
    nowMs = endMs
  }
  const seconds = (performance.now() - begunMs) / 1000
  return { perSecond: units / seconds, p50Us: quantile(micros, 0.5), p99Us: quantile(micros, 0.99) }
}
