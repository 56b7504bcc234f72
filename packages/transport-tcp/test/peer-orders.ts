import type { RemoteWindow } from '@mooncake-ts/core'

/** A window as it goes to another process. */
export type PlainWindow = Omit<RemoteWindow, 'key'> & { readonly key: readonly number[] }

/** What the owner of a window writes over it when no peer may touch it any more. */
export const POISON = 9

/** Operations that a peer process is told to execute, as one batch. */
export interface PeerOrder {
  readonly kind: 'read' | 'write'
  readonly window: PlainWindow
  readonly byteLength: number
  readonly count: number
}

/** How they ended, and whether its region holds POISON then. */
export interface PeerReport {
  readonly codes: readonly string[]
  readonly poisoned: boolean
}
