import { setMaxListeners } from 'node:events'

/**
 * Aborts `controller` with the signal's reason when that aborts; disposing stops it. What `AbortSignal.any`
 * does, for the time of one call: that costs 14 to 23 µs and work for the garbage collector on Node 20, this
 * below one.
 */
export function followSignal(controller: AbortController, signal: AbortSignal): Disposable {
  const abort = (): void => {
    controller.abort(signal.reason)
  }
  if (signal.aborted) abort()
  // Many calls may follow one signal: the number of listeners that Node takes for a leak says nothing here.
  setMaxListeners(0, signal)
  signal.addEventListener('abort', abort, { once: true })
  return {
    [Symbol.dispose]: () => {
      signal.removeEventListener('abort', abort)
    },
  }
}
