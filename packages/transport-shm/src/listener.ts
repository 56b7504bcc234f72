import { unlinkSync } from 'node:fs'
import { getSystemErrorName } from 'node:util'
import { asMooncakeError, MooncakeError, type Clock, type Logger, type Security } from '@mooncake-ts/core'
import type { HostRegion } from '@mooncake-ts/memory'
import { Channel } from './channel.js'
import { assertUser } from './connect.js'
import { greetAsServer } from './handshake.js'
import { native, READABLE, type NativeWatcher } from './native.js'
import { Service, type ServiceDeps } from './service.js'

/** Until the next try, when the system refuses to accept (out of descriptors). */
const ACCEPT_RETRY_MS = 100

export interface ListenerDeps extends ServiceDeps {
  readonly clock: Clock
  readonly logger: Logger
  readonly security: Security
  /** Handed to every peer that has proven the secret. */
  readonly table: HostRegion
}

/** Accepts peers and serves them. One that misbehaves costs its own connection, nothing else. */
export class Listener {
  readonly #deps: ListenerDeps
  readonly #fd: number
  readonly #path: string
  readonly #watcher: NativeWatcher
  readonly #channels = new Set<Channel>()
  #closed = false

  constructor({ fd, path }: { readonly fd: number; readonly path: string }, deps: ListenerDeps) {
    this.#deps = deps
    this.#fd = fd
    this.#path = path
    this.#watcher = new (native().Watcher)(fd, () => {
      this.#accept()
    })
    this.#watcher.watch(READABLE)
  }

  get peerCount(): number {
    return this.#channels.size
  }

  /** Takes no new peers. */
  stopAccepting(): void {
    if (this.#closed) return
    this.#closed = true
    this.#watcher.close()
    try {
      unlinkSync(this.#path)
    } catch (error) {
      this.#deps.logger.debug('The socket was gone already', { path: this.#path, error })
    }
  }

  /** Ends all connections. */
  close(reason: MooncakeError): void {
    this.stopAccepting()
    for (const channel of this.#channels) channel.close(reason)
  }

  #accept(): void {
    while (!this.#closed) {
      const fd = native().accept(this.#fd)
      if (fd >= 0) {
        void this.#serve(fd)
        continue
      }
      const name = getSystemErrorName(fd)
      if (name === 'ECONNABORTED') continue
      if (name !== 'EAGAIN') this.#pause(name)
      return
    }
  }

  #pause(name: string): void {
    this.#deps.logger.warn(`Accepting failed: ${name}`)
    this.#watcher.watch(0)
    this.#deps.clock.after(ACCEPT_RETRY_MS, () => {
      if (!this.#closed) this.#watcher.watch(READABLE)
    })
  }

  async #serve(fd: number): Promise<void> {
    const { clock, logger, metrics, options, security, table } = this.#deps
    const channel = new Channel(fd)
    this.#channels.add(channel)
    try {
      using _timer = clock.after(options.connectTimeoutMs, () => {
        const message = `No handshake within ${options.connectTimeoutMs} ms`
        channel.close(new MooncakeError('ERR_PROTOCOL', message))
      })
      if (this.#channels.size > options.acceptedPeersMax) {
        throw new MooncakeError('ERR_OVERLOADED', 'acceptedPeersMax is reached')
      }
      assertUser(fd, { security, allowOtherUsers: options.allowOtherUsers })
      await greetAsServer(channel, security, table)
      new Service(channel, this.#deps)
    } catch (error) {
      channel.close(asMooncakeError(error))
    }
    const { code, message } = await channel.closed
    this.#channels.delete(channel)
    const refused = code !== 'ERR_TRANSFER_FAIL' && code !== 'ERR_SHUTTING_DOWN'
    if (refused) metrics.failed('target', { code })
    logger[refused ? 'warn' : 'debug'](`A peer's connection ended: ${message}`, { code })
  }
}
