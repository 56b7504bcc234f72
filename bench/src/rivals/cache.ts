import { execFile } from 'node:child_process'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

/** Where rivals are installed: outside the repository, in the user's cache. */
export function cachePath(...parts: readonly string[]): string {
  const base = process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache')
  return join(base, 'mooncake-ts-bench', ...parts)
}

/** A helper of our own, in `bench/rivals`. */
export function helperPath(name: string): string {
  return fileURLToPath(new URL(`../../rivals/${name}`, import.meta.url))
}

export const run = promisify(execFile)
