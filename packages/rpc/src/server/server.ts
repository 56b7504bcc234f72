import type { Socket } from 'node:net'
import { isLoopback, MooncakeError } from '@mooncake-ts/core'
import { formatEndpoint, parseEndpoint, type Endpoint } from '../endpoint.js'
import type { Surroundings } from '../surroundings.js'
import { InboundConnection, type ConnectionOwner } from './connection.js'
import { listen, type Listener } from './listener.js'
import type { HandlerRegistry } from './registry.js'
import type { ServedRequest } from './request.js'

/** The listeners of one service, and what came in through them. */
export class RpcServer implements ConnectionOwner {
  readonly #around: Surroundings
  readonly #handlers: HandlerRegistry
  readonly #listeners: Listener[] = []
  readonly #connections = new Set<InboundConnection>()
  /** Whose handlers have not returned; also those whose connection is gone. */
  readonly #requests = new Set<ServedRequest>()
  #onIdle: (() => void) | undefined

  constructor(around: Surroundings, handlers: HandlerRegistry) {
    this.#around = around
    this.#handlers = handlers
  }

  get endpoints(): readonly string[] {
    return this.#listeners.map(listener => listener.endpoint)
  }

  /** @throws ERR_INSECURE_BIND, ERR_ADDRESS_IN_USE, ERR_IO; the signal's reason */
  async start(signal: AbortSignal): Promise<void> {
    const { settings, security, logger } = this.#around
    const { advertiseHost, connectionsMax } = settings
    const wanted = settings.listen.map(parseEndpoint)
    for (const endpoint of wanted) {
      const onConnection = (socket: Socket): void => {
        this.#accept(socket, endpoint)
      }
      const onError = (error: Error): void => {
        logger.warn('rpc failed to accept a connection', { reason: error.message })
      }
      const options = { security, advertiseHost, connectionsMax, onConnection, onError }
      const listener = await listen(endpoint, options)
      this.#listeners.push(listener)
      if (signal.aborted) await listener.close() // `stop` may have been and gone.
      signal.throwIfAborted()
    }
    if (wanted.length === 0) return
    logger.info('rpc listens', { endpoints: this.endpoints })
    if (security.secret == null && wanted.every(staysHere)) {
      logger.info(
        'rpc has no cluster secret: it trusts everybody on this machine, and listens on loopback only',
      )
    }
  }

  /**
   * Accepts nothing more, answers what is in work, then asks it to stop, then closes. At rest when it
   * settles; a handler that heeds no signal is waited for `drainMs` twice and named in the log.
   */
  async stop(): Promise<void> {
    const { settings, logger } = this.#around
    const closed = this.#listeners.splice(0).map(listener => listener.close())
    for (const connection of this.#connections) connection.drain()
    if (!(await this.#idle(settings.drainMs))) {
      const reason = new MooncakeError('ERR_SHUTTING_DOWN', 'This process is stopping')
      for (const request of this.#requests) request.abort(reason)
      if (!(await this.#idle(settings.drainMs))) {
        const methods = [...this.#requests].map(request => request.method)
        logger.warn('rpc handlers did not return', { methods })
      }
    }
    for (const connection of this.#connections) connection.close()
    await Promise.all(closed)
  }

  onRequest(request: ServedRequest): void {
    this.#requests.add(request)
  }

  onRequestSettled(request: ServedRequest): void {
    this.#requests.delete(request)
    if (this.#requests.size === 0) this.#onIdle?.()
  }

  onConnectionClosed(connection: InboundConnection): void {
    this.#connections.delete(connection)
  }

  #accept(socket: Socket, endpoint: Endpoint): void {
    const peer = peerName(socket, endpoint)
    this.#connections.add(new InboundConnection(socket, peer, this.#around, this.#handlers, this))
  }

  /** False when the limit came first. */
  #idle(limitMs: number): Promise<boolean> {
    return new Promise(resolve => {
      if (this.#requests.size === 0) {
        resolve(true)
        return
      }
      const timer = this.#around.clock.after(limitMs, () => {
        resolve(false)
      })
      this.#onIdle = () => {
        timer[Symbol.dispose]()
        resolve(true)
      }
    })
  }
}

function staysHere(endpoint: Endpoint): boolean {
  return 'path' in endpoint || isLoopback(endpoint.host)
}

function peerName(socket: Socket, endpoint: Endpoint): string {
  const { remoteAddress, remotePort } = socket
  if ('path' in endpoint || remoteAddress == null || remotePort == null) return formatEndpoint(endpoint)
  return formatEndpoint({ host: remoteAddress, port: remotePort })
}
