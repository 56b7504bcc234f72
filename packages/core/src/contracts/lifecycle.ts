/** Implemented by what a plugin makes, where it has something to start or to stop. */
export interface Startable {
  /** What this plugin requires has started. Reject with the signal's reason when it aborts. */
  start?(signal: AbortSignal): Promise<void> | void
  /** Called once if `start` was called, in the reverse order. At rest when it settles. */
  stop?(): Promise<void> | void
}
