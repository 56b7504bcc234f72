import { connect } from 'node:net'
import { asMooncakeError, MooncakeError, parseHostPort, type Clock, type Security } from '@mooncake-ts/core'
import { ControlConnection, type Message } from './control/connection.js'
import { bytesOf, integerOf, textOf } from './control/fields.js'
import { greetAsClient } from './control/handshake.js'

/** A device of the peer. */
export interface RemoteDevice {
  /** Its place in the keys of the peer's windows. */
  readonly number: number
  readonly name: string
  readonly ethernet: boolean
}

export interface SessionDeps {
  readonly clock: Clock
  readonly security: Security
  readonly connectTimeoutMs: number
  readonly signal: AbortSignal
}

/** The control connection to a peer, of the end that opens links. */
export class Session {
  readonly endpoint: string
  readonly devices: readonly RemoteDevice[]
  readonly #connection: ControlConnection
  readonly #links = new Map<number, (answer: Message) => void>()
  /** Told the link that the peer says is broken. */
  onBroken: (link: number) => void = () => {}
  /** Told the window that the peer has shut; what it returns settles when nothing here touches it any more. */
  onRecall: (key: Uint8Array) => Promise<void> = () => Promise.resolve()

  constructor(endpoint: string, connection: ControlConnection, devices: readonly RemoteDevice[]) {
    this.endpoint = endpoint
    this.devices = devices
    this.#connection = connection
    connection.onMessage(message => {
      this.#take(message)
    })
    void connection.ended.then(() => {
      for (const answer of this.#links.values()) answer({ failed: 'The control connection ended' })
      this.#links.clear()
    })
  }

  /** Settles with the reason of its end. */
  get ended(): Promise<MooncakeError> {
    return this.#connection.ended
  }

  get open(): boolean {
    return this.#connection.open
  }

  /** Asks the peer to make its end. Gives what it needs to be known by. Rejects with ERR_TRANSFER_FAIL. */
  async connectLink(link: number, device: RemoteDevice, info: Uint8Array): Promise<Uint8Array> {
    const answer = await this.#ask(link, {
      type: 'connect',
      link,
      device: device.number,
      info: Buffer.from(info).toString('base64'),
    })
    if (answer.type === 'connected') return bytesOf(answer, 'info')
    const reason = typeof answer.failed === 'string' ? answer.failed : 'no reason given'
    throw new MooncakeError('ERR_TRANSFER_FAIL', `The peer made no link: ${reason}`)
  }

  /** Settles when the peer's end is at rest, or the peer is gone. */
  async closeLink(link: number): Promise<void> {
    await this.#ask(link, { type: 'close', link })
  }

  close(reason: MooncakeError): void {
    this.#connection.destroy(reason)
  }

  /** One question at a time for each link. */
  #ask(link: number, question: Message): Promise<Message> {
    if (!this.open) return Promise.resolve({ failed: 'The control connection ended' })
    return new Promise(resolve => {
      this.#links.get(link)?.({ failed: 'The link was closed' })
      this.#links.set(link, resolve)
      this.#connection.send(question)
    })
  }

  #take(message: Message): void {
    const type = textOf(message, 'type')
    if (type === 'recall') {
      const key = bytesOf(message, 'key', 64)
      void this.onRecall(key).then(() => {
        this.#connection.send({ type: 'rested', key: key.toString('base64') })
      })
      return
    }
    const link = integerOf(message, 'link')
    if (type === 'broken') {
      this.onBroken(link)
      return
    }
    if (type !== 'connected' && type !== 'closed' && type !== 'failed') return // Of a newer version.
    const answer = this.#links.get(link)
    this.#links.delete(link)
    answer?.(message)
  }
}

/** @throws ERR_TRANSFER_FAIL, ERR_PROTOCOL, ERR_UNAUTHENTICATED, or the signal's reason */
export async function openSession(endpoint: string, deps: SessionDeps): Promise<Session> {
  const { clock, security, connectTimeoutMs, signal } = deps
  signal.throwIfAborted()
  const { host, port } = parseHostPort(endpoint)
  const connection = new ControlConnection(connect({ host, port }))
  using timer = clock.after(connectTimeoutMs, () => {
    const message = `${endpoint} did not answer within ${connectTimeoutMs} ms`
    connection.destroy(new MooncakeError('ERR_TRANSFER_FAIL', message))
  })
  void timer
  const abort = (): void => {
    connection.destroy(asMooncakeError(signal.reason))
  }
  signal.addEventListener('abort', abort, { once: true })
  try {
    const welcome = await greetAsClient(connection, security)
    return new Session(endpoint, connection, devicesOf(welcome))
  } catch (error) {
    connection.destroy(asMooncakeError(error))
    throw error
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

const REMOTE_DEVICES_MAX = 64

function devicesOf({ devices }: Message): RemoteDevice[] {
  if (!Array.isArray(devices) || devices.length > REMOTE_DEVICES_MAX) {
    throw new MooncakeError('ERR_PROTOCOL', 'The peer does not say which devices it has')
  }
  return (devices as Message[]).map(device => ({
    number: integerOf(device, 'number', REMOTE_DEVICES_MAX),
    name: textOf(device, 'name'),
    ethernet: device.ethernet === true,
  }))
}
