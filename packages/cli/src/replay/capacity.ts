import { readFileSync } from 'node:fs'
import { GIB, MIB } from '@mooncake-ts/core'

/** Of each data node, where nobody said another size and there is as much. */
export const CAPACITY_BYTES = GIB
const CAPACITY_BYTES_MIN = 16 * MIB
/** What a transport pins beside the tier of its node. */
const PINNED_BESIDE_BYTES = 32 * MIB
/**
 * The part of the available memory that the tiers may pin. Programs and the kernel need the rest, and the first call
 * waits until a whole tier is pinned, which is slow where memory is small.
 */
const PINNED_SHARE = 0.125
const CAP_IPC_LOCK = 14

/** What the machine lets processes pin. */
export interface Pinnable {
  /** Over all processes. */
  readonly availableBytes: number
  /** Of one process; Infinity where it may pin what it likes. */
  readonly lockedBytesMax: number
}

/** RDMA pins a tier whole when it is registered, so it cannot be larger than what there is. */
export function pinnableCapacity({ availableBytes, lockedBytesMax }: Pinnable, nodes: number): number {
  const share = (availableBytes * PINNED_SHARE) / nodes
  const bytes = Math.min(CAPACITY_BYTES, share, lockedBytesMax - PINNED_BESIDE_BYTES)
  return Math.max(CAPACITY_BYTES_MIN, Math.floor(bytes / MIB) * MIB)
}

export function findPinnable(): Pinnable {
  const availableKib = /^MemAvailable:\s+(\d+) kB/m.exec(textOf('/proc/meminfo'))?.[1]
  const locked = /^Max locked memory\s+(\d+|unlimited)/m.exec(textOf('/proc/self/limits'))?.[1]
  const capabilities = BigInt(`0x${/^CapEff:\s+([0-9a-f]+)/m.exec(textOf('/proc/self/status'))?.[1] ?? '0'}`)
  const mayLockAll = ((capabilities >> BigInt(CAP_IPC_LOCK)) & 1n) === 1n
  return {
    availableBytes: availableKib == null ? Infinity : Number(availableKib) * 1024,
    lockedBytesMax: mayLockAll || locked == null || locked === 'unlimited' ? Infinity : Number(locked),
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
