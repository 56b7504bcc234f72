import { MooncakeError } from '@mooncake-ts/core'

const HUGE_PAGES = ['off', 'transparent', '2MiB', '1GiB'] as const

/**
 * `2MiB` and `1GiB` take from the pools of reserved pages, `transparent` asks the kernel for what it can do.
 */
export type HugePages = (typeof HUGE_PAGES)[number]

/**
 * Where the memory of a Region comes from. What the system cannot give is left out, with a warning, never an
 * error.
 */
export interface PlacementOptions {
  /**
   * @defaultValue transparent huge pages where the system allows them, without a warning where it does not
   */
  readonly hugePages?: HugePages
  /** The NUMA node that pages should come from. @defaultValue that of the thread that first touches a page */
  readonly numaNode?: number
  /** Hears of whatever could not be had. @defaultValue `process.emitWarning` */
  readonly onWarning?: (message: string) => void
}

/** @throws ERR_INVALID_PARAMS */
export function assertPlacement({ hugePages, numaNode }: PlacementOptions): void {
  if (hugePages !== undefined && !HUGE_PAGES.includes(hugePages)) {
    throw new MooncakeError('ERR_INVALID_PARAMS', `hugePages must be one of ${HUGE_PAGES.join(', ')}`)
  }
  if (numaNode !== undefined) assertInteger('numaNode', numaNode, 0, NUMA_NODE_MAX)
}

const NUMA_NODE_MAX = 1023

/** @throws ERR_INVALID_PARAMS */
export function assertInteger(name: string, value: number, min: number, max: number): void {
  if (Number.isSafeInteger(value) && value >= min && value <= max) return
  throw new MooncakeError('ERR_INVALID_PARAMS', `${name} must be an integer from ${min} to ${max}`)
}

export function emitWarning(message: string): void {
  process.emitWarning(message, { type: 'MooncakeWarning' })
}
