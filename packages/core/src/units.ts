export const KIB = 1024
export const MIB = 1024 * KIB
export const GIB = 1024 * MIB
export const TIB = 1024 * GIB

export const kib = (count: number): number => count * KIB
export const mib = (count: number): number => count * MIB
export const gib = (count: number): number => count * GIB
export const tib = (count: number): number => count * TIB

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  k: KIB,
  kb: KIB,
  kib: KIB,
  m: MIB,
  mb: MIB,
  mib: MIB,
  g: GIB,
  gb: GIB,
  gib: GIB,
  t: TIB,
  tb: TIB,
  tib: TIB,
}

/**
 * Bytes from a number or a string such as `16GB`, `64 MiB`, `4096`. As in the reference system, GB and GiB
 * both mean 2^30. Undefined when it is neither, or not a whole number of bytes.
 */
export function parseBytes(value: number | string): number | undefined {
  if (typeof value === 'number') return Number.isSafeInteger(value) && value >= 0 ? value : undefined
  const match = /^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$/i.exec(value)
  const unit = UNITS[match?.[2]?.toLowerCase() ?? '?']
  if (match == null || unit == null) return undefined
  const bytes = Number(match[1]) * unit
  return Number.isSafeInteger(bytes) ? bytes : undefined
}

const DURATIONS_MS: Readonly<Record<string, number>> = { '': 1, ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

/** Milliseconds from a number or a string such as `10000`, `10s`, `30m`. Undefined when it is neither. */
export function parseDurationMs(value: number | string): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) && value >= 0 ? value : undefined
  const match = /^\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|)\s*$/i.exec(value)
  return match == null ? undefined : Number(match[1]) * DURATIONS_MS[match[2]!.toLowerCase()]!
}

/** `12.3 GiB`, for people. */
export function formatBytes(bytes: number): string {
  const names = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < names.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 2 : 1)} ${names[unit]}`
}
