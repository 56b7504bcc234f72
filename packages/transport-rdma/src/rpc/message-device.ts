import { MooncakeError } from '@mooncake-ts/core'
import { opened, portStateOf, systemError } from '../device.js'
import {
  EventKind,
  native,
  type MessageStats,
  type NativeDeviceOptions,
  type NativeEvent,
  type NativeMessageDevice,
  type NativePort,
  type NativeStreamOptions,
} from '../native.js'

/** Who is told what happens to a stream. */
export interface StreamOwner {
  /** Bytes have come, or there is room for more, or one of the two directions has ended. */
  onNews(): void
  /** Nothing touches its memory any more; what has come can be read until `forget`. */
  onClosed(why: string): void
}

interface Entry {
  owner: StreamOwner | undefined
  /** Waits for `created`, then for `connected`. */
  settle: ((event: NativeEvent) => void) | undefined
}

/** For those who wait for a device that is closed. */
const CLOSED: NativeEvent = {
  kind: EventKind.closed,
  subject: 0,
  status: 125, // ECANCELED
  rkey: 0,
  numaNode: -1,
  text: 'the device was closed',
  bytes: new Uint8Array(0),
}

let nextId = 1

/** One device: promises and callbacks around the streams that the addon keeps. */
export class MessageDevice {
  readonly name: string
  readonly port: NativePort
  onPort: (up: boolean, why: string) => void = () => {}
  readonly #native: NativeMessageDevice
  readonly #streams = new Map<number, Entry>()
  #closed = false

  /** @throws ERR_IO with what the system refused */
  constructor(options: NativeDeviceOptions, streams: NativeStreamOptions) {
    this.name = options.name
    const { MessageDevice: Opened } = native()
    this.#native = opened(
      options.name,
      () =>
        new Opened(options, streams, () => {
          this.#take()
        }),
    )
    this.port = this.#native.describe()
  }

  /** Of streams, also those that are being made or closed. */
  get count(): number {
    return this.#streams.size
  }

  get stats(): MessageStats {
    return this.#native.stats()
  }

  /** Rejects with ERR_RPC_FAIL; then there is none. */
  async create(): Promise<{ readonly id: number; readonly info: Uint8Array }> {
    if (this.#closed) throw new MooncakeError('ERR_RPC_FAIL', `${this.name} is closed`)
    const id = nextId++
    const entry: Entry = { owner: undefined, settle: undefined }
    this.#streams.set(id, entry)
    this.#reference()
    this.#native.create(id)
    const event = await this.#next(entry)
    if (event.status === 0) return { id, info: event.bytes }
    this.forget(id)
    throw systemError(`${this.name} could not make a stream (${event.text})`, event.status, 'ERR_RPC_FAIL')
  }

  /**
   * Rejects with ERR_RPC_FAIL; the stream is to be closed then.
   * @param first this end sends the first message, and waits until the peer has it
   */
  async connect(id: number, peer: Uint8Array, first: boolean): Promise<void> {
    const entry = this.#streams.get(id)
    if (entry == null || this.#closed) throw new MooncakeError('ERR_RPC_FAIL', 'The stream has ended')
    if (!this.#native.connect(id, peer, first)) {
      throw new MooncakeError('ERR_RPC_FAIL', 'The peer sent no description of a stream')
    }
    const { kind, status, text } = await this.#next(entry)
    if (kind === EventKind.closed) throw new MooncakeError('ERR_RPC_FAIL', `no bytes get through: ${text}`)
    if (status !== 0) {
      throw systemError(`${this.name} could not connect a stream (${text})`, status, 'ERR_RPC_FAIL')
    }
  }

  /** Tells `owner` from here on; of what came before too. */
  own(id: number, owner: StreamOwner): void {
    const entry = this.#streams.get(id)
    if (entry != null) entry.owner = owner
    else owner.onClosed(CLOSED.text)
  }

  write(id: number, bytes: Uint8Array, offset: number): number {
    return this.#native.write(id, bytes, offset)
  }

  /** What can be read just now; where 0, `onNews` is called when there is something. */
  readableBytes(id: number): number {
    return this.#native.readableBytes(id)
  }

  read(id: number, bytes: Uint8Array): number {
    return this.#native.read(id, bytes)
  }

  finish(id: number): void {
    this.#native.finish(id)
  }

  ended(id: number): boolean {
    return !this.#closed && this.#native.ended(id)
  }

  finished(id: number): boolean {
    return this.#native.finished(id)
  }

  /** Ends with `onClosed`. */
  closeStream(id: number): void {
    if (!this.#closed) this.#native.closeStream(id)
  }

  /** Its memory goes. */
  forget(id: number): void {
    if (this.#streams.delete(id) && !this.#closed) this.#native.forget(id)
    this.#reference()
  }

  /** Blocks until nothing touches memory any more. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#native.close()
    const streams = [...this.#streams.values()]
    this.#streams.clear()
    for (const { owner, settle } of streams) {
      settle?.(CLOSED)
      owner?.onClosed(CLOSED.text)
    }
  }

  #next(entry: Entry): Promise<NativeEvent> {
    return new Promise(resolve => {
      entry.settle = resolve
    })
  }

  #take(): void {
    if (this.#closed) return
    const [streams, events] = this.#native.take()
    for (const id of new Set(streams)) this.#streams.get(id)?.owner?.onNews()
    for (const event of events) this.#onEvent(event)
  }

  #onEvent(event: NativeEvent): void {
    if (event.kind === EventKind.async) {
      const up = portStateOf(event)
      if (up != null) this.onPort(up, event.text)
      return
    }
    const entry = this.#streams.get(event.subject)
    if (entry == null) return
    const { settle } = entry
    entry.settle = undefined
    settle?.(event)
    if (event.kind !== EventKind.closed) return
    if (entry.owner == null) this.forget(event.subject)
    else entry.owner.onClosed(event.text)
  }

  /** A process does not end while a device may touch its memory. */
  #reference(): void {
    if (!this.#closed) this.#native.setReferenced(this.#streams.size > 0)
  }
}
