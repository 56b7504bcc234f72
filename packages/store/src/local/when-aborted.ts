import { setMaxListeners } from 'node:events'

/**
 * Calls `listener` once when the signal aborts; gives what stops that. A whole batch waits on the one signal
 * of its call, so the number of listeners that Node takes for a leak (ten) says nothing here.
 */
export function whenAborted(signal: AbortSignal, listener: () => void): () => void {
  setMaxListeners(0, signal)
  signal.addEventListener('abort', listener, { once: true })
  return () => {
    signal.removeEventListener('abort', listener)
  }
}
