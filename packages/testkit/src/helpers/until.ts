import { setImmediate as turn, setTimeout as wait } from 'node:timers/promises'

export interface UntilOptions {
  /** Gives up with an Error then. @defaultValue 5 000 */
  readonly deadlineMs?: number
}

/** Looks again at once this often, and then every few milliseconds. */
const QUICK_LOOKS = 50
const INTERVAL_MS = 5

/**
 * Waits until the condition gives something truthy, and gives that. For what has no event to wait for, e.g.
 * another process's state. Real time, whatever the clock of the test is.
 */
export async function until<T>(
  condition: () => T | Promise<T>,
  { deadlineMs = 5_000 }: UntilOptions = {},
): Promise<T> {
  const begun = performance.now()
  for (let looks = 0; ; looks++) {
    const answer = await condition()
    if (answer) return answer
    if (performance.now() - begun > deadlineMs)
      throw new Error(`Not true within ${deadlineMs} ms: ${String(condition)}`)
    await (looks < QUICK_LOOKS ? turn() : wait(INTERVAL_MS))
  }
}
