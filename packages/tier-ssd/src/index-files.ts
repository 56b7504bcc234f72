import { open, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fromSystem } from './io.js'

/** One file of the index. Files with greater numbers are read later. */
export interface IndexFile {
  readonly number: number
  /** It has all that the files before it have, which do not count any more. */
  readonly isSnapshot: boolean
  readonly path: string
}

const NAME = /^index-(\d{8,})\.(log|snapshot)$/
const UNFINISHED = /^index-\d+\.tmp$/

export function indexFile(directory: string, number: number, isSnapshot = false): IndexFile {
  const name = `index-${String(number).padStart(8, '0')}`
  return { number, isSnapshot, path: join(directory, `${name}.${isSnapshot ? 'snapshot' : 'log'}`) }
}

/** Those that count, in their order; what an interrupted compaction left behind is removed. */
export async function findIndexFiles(directory: string): Promise<IndexFile[]> {
  const files: IndexFile[] = []
  for (const name of await fromSystem(`${directory}: read`, readdir(directory))) {
    if (UNFINISHED.test(name)) await fromSystem(`${name}: remove`, rm(join(directory, name)))
    const match = NAME.exec(name)
    if (match != null) files.push(indexFile(directory, Number(match[1]), match[2] === 'snapshot'))
  }
  files.sort((a, b) => a.number - b.number)
  const first = Math.max(
    0,
    files.findLastIndex(({ isSnapshot }) => isSnapshot),
  )
  for (const { path } of files.splice(0, first)) await fromSystem(`${path}: remove`, rm(path))
  return files
}

/** Makes the names in a directory durable. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await fromSystem(`${directory}: open`, open(directory, 'r'))
  try {
    await fromSystem(`${directory}: fsync`, handle.sync())
  } finally {
    await handle.close()
  }
}

/** Gives a file that is whole and durable its name, so that it is there as a whole or not at all. */
export async function install(directory: string, from: string, to: string): Promise<void> {
  await fromSystem(`${to}: rename`, rename(from, to))
  await syncDirectory(directory)
}
