import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  CLOCK,
  Host,
  LOGGER,
  RPC_SERVICE,
  SECURITY,
  value,
  type Clock,
  type Logger,
  type Plugin,
  type RpcCarrier,
  type RpcService,
  type Security,
} from '@mooncake-ts/core'
import { defineMethod, rpc, Type, type RpcOptions } from '@mooncake-ts/rpc'
import { parseEndpoint } from '../dist/endpoint.js'
import { decodeBody, encodeFrame } from '../dist/wire/codec.js'
import { FrameKind, FrameReader, HEADER_BYTES, type Frame } from '../dist/wire/frame.js'
import { Handshake } from '../dist/wire/handshake.js'

export const ECHO = defineMethod('Test.Echo', {
  request: Type.Object({ text: Type.String() }),
  response: Type.Object({ text: Type.String() }),
})

/** Its handler decides when it answers. */
export const SLOW = defineMethod('Test.Slow', { request: Type.Object({}), response: Type.Object({}) })

const cleanups: Array<() => Promise<void> | void> = []

export async function cleanUp(): Promise<void> {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
}

export interface LogLine {
  readonly level: string
  readonly message: string
  readonly fields: Record<string, unknown>
}

/** Keeps what it is told; `wait` settles when a line fits. */
export class MemoryLogger implements Logger {
  readonly lines: LogLine[] = []
  readonly #watchers = new Set<() => void>()

  readonly debug = this.#level('debug')
  readonly info = this.#level('info')
  readonly warn = this.#level('warn')
  readonly error = this.#level('error')

  child(): Logger {
    return this
  }

  withCode(code: string): LogLine | undefined {
    return this.lines.find(({ fields }) => fields['code'] === code)
  }

  wait(fits: (line: LogLine) => boolean): Promise<LogLine> {
    return new Promise(resolve => {
      const look = (): void => {
        const line = this.lines.find(fits)
        if (line == null) return
        this.#watchers.delete(look)
        resolve(line)
      }
      this.#watchers.add(look)
      look()
    })
  }

  #level(level: string) {
    return (message: string, fields: object = {}): void => {
      this.lines.push({ level, message, fields: fields as Record<string, unknown> })
      for (const look of this.#watchers) look()
    }
  }
}

export interface Service {
  readonly host: Host
  readonly service: RpcService
  readonly logger: MemoryLogger
  /** The first endpoint. */
  readonly endpoint: string
}

export interface Around {
  readonly secret?: string
  readonly allowInsecure?: boolean
  readonly clock?: Clock
  /** Preferred first. @defaultValue that of `carriedBy` */
  readonly carriers?: ReadonlyArray<Plugin<RpcCarrier>>
}

type Role = 'server' | 'client'
type Carried = (role: Role) => Plugin<RpcCarrier>

let carried: Carried | undefined

/** What carries the connections of the services in the tests of this `describe`. */
export function carriedBy(carrier: Carried): void {
  before(() => {
    carried = carrier
  })
  after(() => {
    carried = undefined
  })
}

/** A running service; `cleanUp` stops it. */
export async function startService(options: RpcOptions = {}, around: Around = {}): Promise<Service> {
  const logger = new MemoryLogger()
  const role = (options.listen ?? []).length > 0 ? 'server' : 'client'
  const carriers = around.carriers ?? (carried == null ? [] : [carried(role)])
  const host = new Host([
    ...carriers,
    value(LOGGER, logger),
    value(SECURITY, securityOf(around)),
    ...(around.clock == null ? [] : [value(CLOCK, around.clock)]),
    rpc({ drainMs: 100, ...options }), // Some handlers of these tests never return.
  ])
  cleanups.push(() => host.stop())
  await host.start()
  const service = host.get(RPC_SERVICE)
  return { host, service, logger, endpoint: service.endpoints[0] ?? '' }
}

export function startServer(options: RpcOptions = {}, around: Around = {}): Promise<Service> {
  return startService({ listen: ['127.0.0.1:0'], ...options }, around)
}

/** A server with ECHO, for tests that want to know whether it still lives. */
export async function startEcho(options: RpcOptions = {}, around: Around = {}): Promise<Service> {
  const server = await startServer(options, around)
  server.service.handle(ECHO, ({ text }) => ({ text }))
  return server
}

export function securityOf({ secret, allowInsecure = false }: Around): Security {
  return secret == null ? { allowInsecure } : { secret, allowInsecure }
}

/** A peer without manners: any bytes, any frame, and it sees what comes back. */
export class RawPeer {
  readonly socket: Socket
  readonly ended: Promise<unknown>
  readonly #reader = new FrameReader(2 ** 30)
  readonly #frames: Frame[] = []
  readonly #waiting: Array<(frame: Frame) => void> = []

  private constructor(socket: Socket) {
    this.socket = socket
    this.ended = once(socket, 'close')
    socket.on('error', () => {}) // A reset is one of the ends that tests wait for.
    socket.on('data', chunk => {
      this.#reader.push(chunk, frame => {
        const waiter = this.#waiting.shift()
        if (waiter == null) this.#frames.push(frame)
        else waiter(frame)
        return true
      })
    })
  }

  static async connect(
    endpoint: string,
    options: { readonly allowHalfOpen?: boolean } = {},
  ): Promise<RawPeer> {
    const socket = connect({ ...parseEndpoint(endpoint), ...options })
    cleanups.push(() => void socket.destroy())
    await once(socket, 'connect')
    return new RawPeer(socket)
  }

  /** Connected and past the handshake. `versions` replaces those that its HELLO tells. */
  static async authenticated(endpoint: string, versions: object = {}): Promise<RawPeer> {
    const peer = await RawPeer.connect(endpoint)
    const handshake = new Handshake('client', securityOf({}), 2 ** 26)
    peer.socket.write(alterHello(handshake.hello(), versions))
    for (;;) {
      const { reply, session } = handshake.receive(await peer.frame())
      if (reply != null) peer.socket.write(reply)
      if (session != null) return peer
    }
  }

  frame(): Promise<Frame> {
    const frame = this.#frames.shift()
    return frame == null ? new Promise(resolve => this.#waiting.push(resolve)) : Promise.resolve(frame)
  }

  async body(): Promise<unknown> {
    return decodeBody((await this.frame()).body)
  }
}

/**
 * Past the handshake a server that does what a test wants. `versions` replaces those that its HELLO tells.
 */
export async function fakeServer(
  onRequest: (socket: Socket, id: number) => void,
  versions: object = {},
): Promise<Server> {
  const server = createServer(socket => {
    const handshake = new Handshake('server', { allowInsecure: false }, 2 ** 20)
    const reader = new FrameReader(2 ** 20)
    socket.on('error', () => {})
    socket.on('data', chunk => {
      reader.push(chunk, frame => {
        if (frame.kind === FrameKind.request) onRequest(socket, frame.id)
        else if (frame.kind === FrameKind.hello)
          socket.write(alterHello(handshake.receive(frame).reply!, versions))
        else if (frame.kind === FrameKind.proof) socket.write(handshake.receive(frame).reply!)
        return true
      })
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}

export const endpointOf = (server: Server): string => `127.0.0.1:${(server.address() as AddressInfo).port}`

/** A HELLO with other fields, e.g. other versions. */
export function alterHello(frame: Buffer, fields: object): Buffer {
  const hello = decodeBody(frame.subarray(HEADER_BYTES)) as object
  return encodeFrame(FrameKind.hello, 0, 0, { ...hello, ...fields })
}

export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'rpc-'))
  cleanups.push(() => {
    rmSync(directory, { recursive: true })
  })
  return directory
}

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
  readonly promise = new Promise<T>(resolve => {
    this.resolve = resolve
  })
}

/** Time that passes when a test says so. */
export class ManualClock implements Clock {
  #nowMs = 0
  readonly #timers = new Set<{ dueMs: number; readonly everyMs?: number; readonly callback: () => void }>()

  get pending(): number {
    return this.#timers.size
  }

  nowMs(): number {
    return this.#nowMs
  }

  wallMs(): number {
    return this.#nowMs
  }

  after(delayMs: number, callback: () => void): Disposable {
    return this.#add({ dueMs: this.#nowMs + delayMs, callback })
  }

  every(intervalMs: number, callback: () => void): Disposable {
    return this.#add({ dueMs: this.#nowMs + intervalMs, everyMs: intervalMs, callback })
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      this.after(delayMs, resolve)
      signal?.addEventListener('abort', () => {
        reject(signal.reason as Error)
      })
    })
  }

  advance(byMs: number): void {
    const endMs = this.#nowMs + byMs
    for (;;) {
      const next = [...this.#timers].sort((one, other) => one.dueMs - other.dueMs)[0]
      if (next == null || next.dueMs > endMs) break
      this.#nowMs = next.dueMs
      if (next.everyMs == null) this.#timers.delete(next)
      else next.dueMs += next.everyMs
      next.callback()
    }
    this.#nowMs = endMs
  }

  #add(timer: { dueMs: number; readonly everyMs?: number; readonly callback: () => void }): Disposable {
    this.#timers.add(timer)
    return { [Symbol.dispose]: () => void this.#timers.delete(timer) }
  }
}
