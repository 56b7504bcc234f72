import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The published trace, in `shared/data/traces` beside the checkout or above it; it is never committed. */
export function conversationTrace(): string | undefined {
  const path = join('shared', 'data', 'traces', 'conversation_trace.jsonl')
  let folder = dirname(fileURLToPath(import.meta.url))
  for (;;) {
    if (existsSync(join(folder, path))) return join(folder, path)
    if (dirname(folder) === folder) return undefined
    folder = dirname(folder)
  }
}
