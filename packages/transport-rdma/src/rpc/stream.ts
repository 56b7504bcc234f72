import { Duplex } from 'node:stream'
import { MooncakeError } from '@mooncake-ts/core'
import type { MessageDevice, StreamOwner } from './message-device.js'

type Done = (error?: Error | null) => void

/**
 * A stream of bytes over one queue pair. A writer without credits waits, a reader that is held up returns none: so
 * back-pressure goes from one end to the other. `close` comes when nothing touches its memory any more.
 */
export class RdmaStream extends Duplex implements StreamOwner {
  readonly #device: MessageDevice
  readonly #id: number
  #reading = false
  /** What there was no room for, and whom to tell when there was. */
  #writing:
    { readonly chunks: readonly Uint8Array[]; next: number; offset: number; readonly done: Done } | undefined
  #finishing: Done | undefined
  #destroying: (() => void) | undefined
  #closed = false

  constructor(device: MessageDevice, id: number) {
    super({ allowHalfOpen: false })
    this.#device = device
    this.#id = id
    device.own(id, this)
  }

  onNews(): void {
    if (this.destroyed) return
    if (this.#reading) this.#pull()
    this.#push()
    if (this.#finishing != null && this.#device.finished(this.#id)) {
      const done = this.#finishing
      this.#finishing = undefined
      done()
    }
  }

  onClosed(why: string): void {
    this.#closed = true
    const finish = this.#finishing
    this.#finishing = undefined
    const saidAll = finish != null || this.writableFinished
    if (this.#destroying != null) this.#destroying()
    // Both ends have said all, and the peer was gone before it could confirm the last message. What came can be read.
    else if (saidAll && this.#device.ended(this.#id)) finish?.()
    else this.destroy(lost(why))
  }

  override _read(): void {
    this.#reading = true
    this.#pull()
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: Done): void {
    this.#writing = { chunks: [chunk], next: 0, offset: 0, done }
    this.#push()
  }

  override _writev(chunks: ReadonlyArray<{ readonly chunk: Uint8Array }>, done: Done): void {
    this.#writing = { chunks: chunks.map(({ chunk }) => chunk), next: 0, offset: 0, done }
    this.#push()
  }

  override _final(done: Done): void {
    this.#finishing = done
    this.#device.finish(this.#id)
  }

  override _destroy(error: Error | null, done: Done): void {
    this.#writing = undefined
    this.#destroying = () => {
      this.#device.forget(this.#id)
      done(error)
    }
    if (this.#closed) this.#destroying()
    else this.#device.closeStream(this.#id)
  }

  #pull(): void {
    while (this.#reading && !this.destroyed) {
      const ended = this.#device.ended(this.#id) // Before, or the last bytes might come in between.
      const byteLength = this.#device.readableBytes(this.#id)
      if (byteLength === 0) {
        if (!ended) return
        this.#reading = false
        this.push(null)
        return
      }
      const bytes = Buffer.allocUnsafe(byteLength)
      this.#device.read(this.#id, bytes)
      this.#reading = this.push(bytes)
    }
  }

  #push(): void {
    const writing = this.#writing
    if (writing == null) return
    while (writing.next < writing.chunks.length) {
      const chunk = writing.chunks[writing.next]!
      writing.offset += this.#device.write(this.#id, chunk, writing.offset)
      if (writing.offset < chunk.byteLength) return
      writing.next++
      writing.offset = 0
    }
    this.#writing = undefined
    writing.done()
  }
}

function lost(why: string): MooncakeError {
  return new MooncakeError('ERR_RPC_FAIL', `the RDMA connection broke: ${why}`)
}
