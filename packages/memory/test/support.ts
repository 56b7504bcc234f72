import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { release } from 'node:os'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect } from 'chai'
import { hasCode, KIB, type ErrorCode } from '@mooncake-ts/core'
import { memoryStats } from '@mooncake-ts/memory'

/** The root of the package; compiled tests lie in dist-test. */
export const packageRoot = join(dirname(fileURLToPath(import.meta.url)), '..')

export const fixture = (name: string): string => join(packageRoot, 'dist-test', 'fixtures', name)

export function throwsCode(call: () => unknown, code: ErrorCode): void {
  let caught: unknown
  try {
    call()
  } catch (error) {
    caught = error
  }
  expect(hasCode(caught, code), `${code}, not ${String(caught)}`).to.equal(true)
}

export async function rejectsCode(promise: Promise<unknown>, code: ErrorCode): Promise<void> {
  const caught: unknown = await promise.then(
    () => undefined,
    (error: unknown) => error,
  )
  expect(hasCode(caught, code), `${code}, not ${String(caught)}`).to.equal(true)
}

const gc = ((): (() => void) => {
  setFlagsFromString('--expose-gc')
  return runInNewContext('gc') as () => void
})()

/**
 * Collects what earlier tests left, so that a test can count its own. Fails if one of them left a region
 * open.
 */
export function nothingLive(): Promise<void> {
  return eventually(() => {
    gc()
    const { liveRegions, wrappedRegions } = memoryStats()
    return liveRegions + wrappedRegions === 0
  }, 'every region of earlier tests is collected')
}

/** Turns the event loop until `condition` holds. */
export async function eventually(condition: () => boolean, what: string, deadlineMs = 10_000): Promise<void> {
  const end = performance.now() + deadlineMs
  while (!condition()) {
    if (performance.now() > end) throw new Error(`${what}: not within ${deadlineMs} ms`)
    await new Promise(resolve => setTimeout(resolve, 1))
  }
}

/** Bytes of the mapping with this label that are in memory. */
export const residentBytes = (label: string): number => mappingBytes(label, 'Rss')

/** Those of them that are in huge pages. */
export const hugeBytes = (label: string): number => mappingBytes(label, 'ShmemPmdMapped')

function mappingBytes(label: string, field: string): number {
  const map = readFileSync('/proc/self/smaps', 'utf8')
  const start = map.indexOf(`mooncake:${label}`)
  if (start < 0) throw new Error(`No mapping has the label ${label}`)
  return KIB * Number(new RegExp(`^${field}: +(\\d+) kB$`, 'm').exec(map.slice(start))![1])
}

/** Whether a program can ask for a huge page (MADV_COLLAPSE of Linux 6.1, unless it is denied). */
export function canAskForHugePages(): boolean {
  const [major = 0, minor = 0] = release().split('.').map(Number)
  const policy = '/sys/kernel/mm/transparent_hugepage/shmem_enabled'
  const isDenied = !existsSync(policy) || readFileSync(policy, 'utf8').includes('[deny]')
  return !isDenied && (major > 6 || (major === 6 && minor >= 1))
}

export interface ChildResult {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly output: string
}

/** Runs a file of dist-test/fixtures in a Node of its own, to its end. */
export async function runFixture(name: string, ...args: string[]): Promise<ChildResult> {
  const child = spawn(process.execPath, ['--expose-gc', fixture(name), ...args], { timeout: 60_000 })
  const [stdout, stderr, [code, signal]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>,
  ])
  return { code, signal, output: stdout + stderr }
}

export interface Holder {
  /** Another addon writes to the whole Region for `holdMs`, then sets `done[0]` and releases. */
  holdFor(handle: unknown, holdMs: number, done: Uint8Array): void
}

const holderSource = join(packageRoot, 'native', 'test', 'holder_addon.cc')
const holderBinary = join(packageRoot, '.cache', 'native-test', 'holder.node')

export function loadHolder(): Holder {
  return createRequire(import.meta.url)(holderBinary) as Holder
}

/** Compiles the addon that stands for another package's. */
export function buildHolder(): void {
  const builtMs = existsSync(holderBinary) ? statSync(holderBinary).mtimeMs : 0
  if (statSync(holderSource).mtimeMs < builtMs) return
  mkdirSync(dirname(holderBinary), { recursive: true })
  const headers = join(dirname(process.execPath), '..', 'include', 'node')
  const flags = ['-std=c++20', '-O1', '-fPIC', '-shared', '-Wl,-z,nodelete', `-I${headers}`]
  const compiler = process.env['CXX'] ?? 'g++'
  const { status, stderr } = spawnSync(compiler, [...flags, holderSource, '-o', holderBinary], {
    encoding: 'utf8',
  })
  if (status !== 0) throw new Error(stderr)
}
