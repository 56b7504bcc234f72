import { asMooncakeError, MooncakeError, type Clock } from '@mooncake-ts/core'
import type { ControlConnection, Message } from './control/connection.js'
import { bytesOf, integerOf, textOf } from './control/fields.js'
import type { Device, EndpointHandle } from './device.js'
import { DEVICES_MAX } from './native.js'
import type { ResolvedOptions } from './options.js'

/** The passive end posts nothing. */
const PASSIVE_DEPTH = 1
const QUEUE_PAIRS_AT = 48
/** Those for data, and the one for looking at windows. */
const QUEUE_PAIRS_MAX = 17

export interface ServedDeps {
  readonly options: ResolvedOptions
  readonly clock: Clock
  readonly devices: readonly Device[]
  /** Whether one more link may be accepted. */
  readonly hasRoom: () => boolean
}

interface ServedLink {
  readonly device: Device
  /** Never rejects; nothing where it could not be made. */
  readonly endpoint: Promise<EndpointHandle | undefined>
}

/** The control connection of a peer that opens links to us, and our ends of those links. */
export class Served {
  readonly #connection: ControlConnection
  readonly #deps: ServedDeps
  readonly #links = new Map<number, ServedLink>()
  readonly #recalls = new Map<string, () => void>()
  /** Settles when the peer is gone and nothing touches memory for it any more. */
  readonly rest: Promise<void>

  /** It has greeted. */
  constructor(connection: ControlConnection, deps: ServedDeps) {
    this.#connection = connection
    this.#deps = deps
    this.rest = connection.ended.then(async () => {
      await Promise.all([...this.#links.keys()].map(link => this.#close(link)))
      for (const settle of this.#recalls.values()) settle()
    })
    connection.onMessage(message => {
      this.#take(message)
    })
  }

  get linkCount(): number {
    return this.#links.size
  }

  /**
   * Settles when the peer has no operation on this window any more. The window is shut. A peer that does not say so in
   * time loses its links.
   */
  recall(key: Uint8Array): Promise<void> {
    if (!this.#connection.open) return this.rest
    if (this.#links.size === 0) return Promise.resolve()
    const text = Buffer.from(key).toString('base64')
    return new Promise(resolve => {
      const timer = this.#deps.clock.after(this.#deps.options.abortGraceMs, () => {
        this.end(new MooncakeError('ERR_TRANSFER_FAIL', 'The peer did not come to rest on a window in time'))
      })
      this.#recalls.set(text, () => {
        timer[Symbol.dispose]()
        this.#recalls.delete(text)
        resolve()
      })
      this.#connection.send({ type: 'recall', key: text })
    })
  }

  /** Its `rest` settles when our ends of its links are destroyed. */
  end(reason: MooncakeError): void {
    this.#connection.destroy(reason)
  }

  #take(message: Message): void {
    switch (textOf(message, 'type')) {
      case 'connect':
        void this.#connect(integerOf(message, 'link'), integerOf(message, 'device'), bytesOf(message, 'info'))
        break
      case 'close': {
        const link = integerOf(message, 'link')
        void this.#close(link).then(() => {
          this.#connection.send({ type: 'closed', link })
        })
        break
      }
      case 'rested':
        this.#recalls.get(textOf(message, 'key', 128))?.()
        break
    }
  }

  async #connect(link: number, number: number, info: Uint8Array): Promise<void> {
    try {
      const device = this.#deps.devices.find(each => each.number === number)
      if (device == null || number >= DEVICES_MAX) throw refused(`there is no device ${number}`)
      if (this.#links.has(link)) throw refused('the link exists')
      if (!this.#deps.hasRoom())
        throw refused(`${this.#deps.options.acceptedLinksMax} links are open already`)
      const endpoint = await this.#make(link, device, info)
      this.#connection.send({ type: 'connected', link, info: Buffer.from(endpoint.info).toString('base64') })
    } catch (error) {
      this.#connection.send({ type: 'failed', link, failed: asMooncakeError(error).message })
    }
  }

  async #make(link: number, device: Device, info: Uint8Array): Promise<EndpointHandle> {
    const made = device.createEndpoint(queuePairsIn(info), PASSIVE_DEPTH, () => {
      this.#connection.send({ type: 'broken', link })
    })
    // Known before it exists: the end of the connection meanwhile must find it.
    this.#links.set(link, { device, endpoint: made.catch(() => undefined) })
    try {
      const endpoint = await made
      if (!this.#connection.open) throw refused('the connection ended')
      await device.connectEndpoint(endpoint.id, info)
      return endpoint
    } catch (error) {
      await this.#close(link)
      throw error
    }
  }

  async #close(link: number): Promise<void> {
    const served = this.#links.get(link)
    if (served == null) return
    const endpoint = await served.endpoint
    if (endpoint != null) {
      served.device.closeEndpoint(endpoint.id)
      await endpoint.closed
    }
    this.#links.delete(link)
  }
}

/** As many for data as the peer made: where `ConnectionInfo` of native/core/wire.h has their number. */
function queuePairsIn(info: Uint8Array): number {
  const count = info.byteLength < QUEUE_PAIRS_AT + 4 ? 0 : Buffer.from(info).readUInt32LE(QUEUE_PAIRS_AT)
  if (count >= 2 && count <= QUEUE_PAIRS_MAX) return count - 1
  throw new MooncakeError('ERR_PROTOCOL', 'The peer sent no description of a link')
}

function refused(why: string): MooncakeError {
  return new MooncakeError('ERR_TRANSFER_FAIL', why)
}
