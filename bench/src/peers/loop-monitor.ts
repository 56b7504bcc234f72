/**
 * Loaded into another program before its own code: says how long its event loop stood still. Asked over the
 * channel to its parent, which does not keep it alive.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'

/** How often it looks; this much is no standstill. */
const RESOLUTION_MS = 1

/** What the parent sends. */
export type LoopQuestion = 'reset' | 'longest'

/** What it gets for `longest`. */
export interface LoopAnswer {
  readonly longestMs: number
}

if (process.send != null) {
  const delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  delays.enable()
  process.on('message', (question: LoopQuestion) => {
    const answer: LoopAnswer = { longestMs: Math.max(0, delays.max / 1e6 - RESOLUTION_MS) }
    if (question === 'reset') delays.reset()
    process.send!(answer)
  })
  process.channel!.unref()
}
