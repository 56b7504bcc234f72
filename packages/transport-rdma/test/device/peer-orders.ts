import type { RemoteWindow } from '@mooncake-ts/core'

/** A window as it goes to another process. */
export type PlainWindow = Omit<RemoteWindow, 'key'> & { readonly key: readonly number[] }

/** What a peer process is told to execute, as one batch over all of its region, again and again. */
export interface PeerOrder {
  readonly kind: 'read' | 'write'
  readonly window: PlainWindow
  readonly pieceBytes: number
  /** How often; each time with another byte. */
  readonly times: number
}

/** How often each code came. */
export interface PeerReport {
  readonly codes: Readonly<Record<string, number>>
  readonly message?: string
}
