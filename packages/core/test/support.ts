/** What `action` throws, or rejects with; fails where it does neither. */
export async function failure(action: () => unknown): Promise<Error & { readonly code?: string }> {
  try {
    await action()
  } catch (error) {
    return error as Error
  }
  throw new Error('This should have failed')
}

/** A promise and what settles it. */
export class Deferred<T = void> {
  resolve!: (value: T) => void
  reject!: (reason: unknown) => void
  readonly promise = new Promise<T>((resolve, reject) => {
    this.resolve = resolve
    this.reject = reject
  })
}

/** Lets everything run that is ready to run: promise reactions and immediates. */
export function turn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve))
}

/** Collects what would end the process while `action` runs: unhandled rejections and uncaught exceptions. */
export async function strayErrors(action: () => Promise<void>): Promise<unknown[]> {
  const events = ['unhandledRejection', 'uncaughtException'] as const
  const found: unknown[] = []
  const collect = (error: unknown): void => void found.push(error)
  const others = events.map(event => [event, process.rawListeners(event)] as const)
  for (const event of events) process.removeAllListeners(event).on(event, collect)
  try {
    await action()
    await turn()
    await turn()
  } finally {
    for (const [event, listeners] of others) {
      process.removeAllListeners(event)
      for (const listener of listeners) process.on(event, listener as () => void)
    }
  }
  return found
}
