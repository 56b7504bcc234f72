import { createServer, type Server, type Socket } from 'node:net'
import {
  asMooncakeError,
  assertMayBind,
  formatHostPort,
  MooncakeError,
  outwardHost,
  parseHostPort,
  type Clock,
  type Logger,
  type Security,
} from '@mooncake-ts/core'
import { ControlConnection } from './control/connection.js'
import { greetAsServer } from './control/handshake.js'
import type { Device } from './device.js'
import type { ResolvedOptions } from './options.js'
import { Served } from './served.js'

/** Control connections from peers, and those that have not proven themselves. */
const CONNECTIONS_MAX = 4096

export interface ListenerDeps {
  readonly options: ResolvedOptions
  readonly clock: Clock
  readonly logger: Logger
  readonly security: Security
  readonly devices: readonly Device[]
}

/** Where peers connect before they open links. */
export class Listener {
  readonly endpoint: string
  readonly #server: Server
  readonly #deps: ListenerDeps
  readonly #greeting = new Set<ControlConnection>()
  readonly #served = new Set<Served>()

  private constructor(server: Server, endpoint: string, deps: ListenerDeps) {
    this.#server = server
    this.endpoint = endpoint
    this.#deps = deps
    server.maxConnections = CONNECTIONS_MAX
    server.on('connection', socket => void this.#accept(socket))
  }

  /** @throws ERR_INSECURE_BIND, ERR_ADDRESS_IN_USE, ERR_IO */
  static async open(deps: ListenerDeps): Promise<Listener> {
    const { host, port } = parseHostPort(deps.options.listen)
    assertMayBind(deps.security, host)
    const server = createServer()
    await new Promise<void>((resolve, reject) => {
      server.once('error', cause => {
        const code = (cause as NodeJS.ErrnoException).code === 'EADDRINUSE' ? 'ERR_ADDRESS_IN_USE' : 'ERR_IO'
        reject(
          new MooncakeError(code, `Could not listen on ${deps.options.listen}: ${cause.message}`, { cause }),
        )
      })
      server.listen(port, host, resolve)
    })
    const address = server.address() as { readonly port: number }
    const advertised = deps.options.advertiseHost ?? outwardHost(host)
    return new Listener(server, formatHostPort({ host: advertised, port: address.port }), deps)
  }

  get linkCount(): number {
    let links = 0
    for (const served of this.#served) links += served.linkCount
    return links
  }

  /** Settles when no peer has an operation on this window, which is shut, any more. */
  async recall(key: Uint8Array): Promise<void> {
    await Promise.all([...this.#served].map(served => served.recall(key)))
  }

  /** Ends all links. Settles when nothing touches memory for peers any more. */
  async close(): Promise<void> {
    const reason = new MooncakeError('ERR_SHUTTING_DOWN')
    this.#server.close()
    for (const connection of this.#greeting) connection.destroy(reason)
    for (const served of this.#served) served.end(reason)
    await Promise.all([...this.#served].map(served => served.rest))
  }

  async #accept(socket: Socket): Promise<void> {
    const { clock, options, security, logger, devices } = this.#deps
    const connection = new ControlConnection(socket)
    this.#greeting.add(connection)
    try {
      using timer = clock.after(options.connectTimeoutMs, () => {
        connection.destroy(new MooncakeError('ERR_TRANSFER_FAIL', 'The peer did not greet in time'))
      })
      void timer
      await greetAsServer(connection, security, {
        devices: devices.map(({ number, name, port }) => ({ number, name, ethernet: port.ethernet })),
      })
    } catch (error) {
      const { code, message } = asMooncakeError(error)
      logger.warn(`Refused ${connection.peer}: ${message}`, { code, peer: connection.peer })
      connection.destroy(asMooncakeError(error))
      return
    } finally {
      this.#greeting.delete(connection)
    }
    const hasRoom = (): boolean => this.linkCount < options.acceptedLinksMax
    const served = new Served(connection, { options, clock, devices, hasRoom })
    this.#served.add(served)
    await served.rest
    this.#served.delete(served)
  }
}
