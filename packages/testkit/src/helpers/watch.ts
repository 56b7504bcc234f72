import type { Completion, CompletionStream } from '@mooncake-ts/core'

/** A subscribed stream: what it has said so far, and how it ended. */
export interface Watch {
  readonly completions: readonly Completion[]
  /** Settles when the stream has ended, however it did; never rejects. */
  readonly ended: Promise<Outcome>
  readonly hasEnded: boolean
  unsubscribe(): void
}

export interface Outcome {
  readonly completions: readonly Completion[]
  /** Whether the stream ended with an error, and which. */
  readonly failed: boolean
  readonly error?: unknown
}

/** Subscribes, once; that is what posts the batch. */
export function watch(stream: CompletionStream, onCompletion?: (completion: Completion) => void): Watch {
  const completions: Completion[] = []
  let end: (outcome: Outcome) => void
  let hasEnded = false
  const ended = new Promise<Outcome>(resolve => {
    end = outcome => {
      hasEnded = true
      resolve(outcome)
    }
  })
  const subscription = stream.subscribe({
    next: completion => {
      completions.push(completion)
      onCompletion?.(completion)
    },
    error: (error: unknown) => {
      end({ completions, failed: true, error })
    },
    complete: () => {
      end({ completions, failed: false })
    },
  })
  return {
    completions,
    ended,
    get hasEnded() {
      return hasEnded
    },
    unsubscribe: () => {
      subscription.unsubscribe()
    },
  }
}

/**
 * Runs a stream to its end, and gives its completions in the order of the batch. Rejects as the stream does.
 */
export async function collect(stream: CompletionStream): Promise<Completion[]> {
  const { completions, failed, error } = await watch(stream).ended
  if (failed) throw error
  return completions.toSorted((a, b) => a.index - b.index)
}
