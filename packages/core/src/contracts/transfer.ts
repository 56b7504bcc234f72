import type { Observable } from 'rxjs'

/** The end of one operation of a batch: reported only when nothing touches its slices any more (I3). */
export interface Completion {
  /** Position of the operation in its batch. */
  readonly index: number
  /** Bytes moved; 0 on error. */
  readonly bytes: number
  readonly error?: Error
}

export interface TransferSummary {
  readonly completed: number
  readonly failed: number
  readonly bytes: number
}

/** SPI: cold and single-use. The engine subscribes exactly once; completions come in any order. */
export type CompletionStream = Observable<Completion>
