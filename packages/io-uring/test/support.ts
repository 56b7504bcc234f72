import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { hasCode } from '@mooncake-ts/core'
import {
  closeFd,
  createIoEngine,
  createSocket,
  listenSocket,
  shutdownSocket,
  type Done,
  type IoEngine,
  type IoEngineOptions,
  type Ring,
} from '@mooncake-ts/io-uring'

/** Every place where operations can run. io_uring is left out, and said so, where the machine refuses it. */
export const PLACES: readonly { name: string; options: IoEngineOptions; ring: (engine: IoEngine) => Ring }[] =
  [
    { name: 'io_uring, inline ring', options: { engine: 'io_uring' }, ring: engine => engine.inline },
    { name: 'io_uring, bulk ring', options: { engine: 'io_uring' }, ring: engine => engine.bulk[0] as Ring },
    { name: 'threads', options: { engine: 'threads' }, ring: engine => engine.inline },
  ]

/** This machine, or this container, refuses io_uring. */
export const uringRefused = ((): boolean => {
  try {
    void createIoEngine({ engine: 'io_uring', bulkThreads: 0 }).close()
    return false
  } catch (error) {
    if (hasCode(error, 'ERR_NOT_SUPPORTED')) return true
    throw error
  }
})()

/** What each test of a suite has for itself. */
export interface Bench {
  readonly engine: IoEngine
  readonly ring: Ring
  /** fds closed after the test. */
  readonly fds: number[]
}

/** Declares the suite once for every place. */
export function forEachPlace(title: string, define: (bench: Bench) => void): void {
  for (const place of PLACES) {
    describe(`${title} (${place.name})`, () => {
      const bench: { engine: IoEngine; ring: Ring; fds: number[] } = {} as never
      before(function () {
        if (place.options.engine === 'io_uring' && uringRefused) this.skip()
      })
      beforeEach(() => {
        bench.engine = createIoEngine({ ...place.options, entries: 64 })
        bench.ring = place.ring(bench.engine)
        bench.fds = []
      })
      afterEach(async () => {
        await bench.engine.close()
        for (const fd of bench.fds) closeFd(fd)
      })
      define(bench)
    })
  }
}

/** One operation as a promise. It is submitted at once. */
export function result(ring: Ring, prepare: (done: Done) => number): Promise<number> {
  return new Promise(resolve => {
    prepare(resolve)
    ring.submit()
  })
}

/** Two ends of one TCP connection over loopback. */
export async function connectedPair(bench: Bench): Promise<[client: number, server: number]> {
  const listener = listenSocket({ host: '127.0.0.1', port: 0 })
  const client = createSocket('ipv4', { noDelay: true })
  const [server, connected] = await Promise.all([
    result(bench.ring, done => bench.ring.accept(listener.fd, done)),
    result(bench.ring, done => bench.ring.connect(client, { host: '127.0.0.1', port: listener.port }, done)),
  ])
  if (server < 0 || connected < 0) throw new Error(`accept ${server}, connect ${connected}`)
  closeFd(listener.fd)
  bench.fds.push(client, server)
  return [client, server]
}

/** Ends both directions of a socket that a test has finished with. */
export function endSocket(bench: Bench, fd: number): void {
  shutdownSocket(fd)
  closeFd(fd)
  bench.fds.splice(bench.fds.indexOf(fd), 1)
}

/** Bytes that differ at every offset that a mistake is likely to mix up. */
export function pattern(byteLength: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(byteLength)
  let state = seed >>> 0 || 1
  for (let i = 0; i < byteLength; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    bytes[i] = state >>> 24
  }
  return bytes
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}

/**
 * A fresh directory, removed after the suite. On a disk where there is one, as O_DIRECT is refused by some
 * memory file systems.
 */
export function useDirectory(): { path(name: string): string } {
  let directory = ''
  before(() => {
    directory = mkdtempSync(join(existsSync('/var/tmp') ? '/var/tmp' : tmpdir(), 'io-uring-test-'))
  })
  after(() => rmSync(directory, { recursive: true, force: true }))
  return { path: name => join(directory, name) }
}

/** Runs the collector and its finalizers, so that counts of what lives do not change by chance. */
export async function collectGarbage(): Promise<void> {
  setFlagsFromString('--expose-gc')
  ;(runInNewContext('gc') as () => void)()
  await new Promise(resolve => setImmediate(resolve))
}
