import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createConnection, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import type { Contender } from '../harness/compare.js'
import { measure } from '../harness/measure.js'
import type { SuiteContext } from '../harness/suite.js'
import { GET, HEADER_BYTES, PATTERN, PUT, type PoolServer } from '../peers/pool-server.js'

export interface NodeNetSetting {
  readonly operation: 'get' | 'put'
  readonly objectBytes: number
  readonly connections: number
}

/** The same bytes between two processes through Node's own `net`, with no store around. */
export class NodeNet implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #port: number
  readonly #pool: Buffer
  readonly #streams: Stream[] = []
  #at = 0

  private constructor(child: ChildProcess, port: number, poolBytes: number) {
    this.#child = child
    this.#port = port
    this.#pool = Buffer.alloc(poolBytes, PATTERN)
  }

  static async start({ poolBytes }: Pick<SuiteContext, 'poolBytes'>): Promise<NodeNet> {
    const child = fork(fileURLToPath(new URL('../peers/pool-server.js', import.meta.url)), [
      String(poolBytes),
    ])
    const [{ port }] = (await once(child, 'message')) as [PoolServer]
    return new NodeNet(child, port, poolBytes)
  }

  /** In GB/s; one object under way on each connection. */
  contender({ operation, objectBytes, connections }: NodeNetSetting): Contender {
    return async durationMs => {
      while (this.#streams.length < connections) this.#streams.push(await Stream.connect(this.#port))
      const idle = this.#streams.slice(0, connections)
      const once = async (): Promise<number> => {
        const stream = idle.pop()!
        await stream[operation](this.#next(objectBytes))
        idle.push(stream)
        return objectBytes
      }
      return await measure(once, { durationMs, depth: connections, scale: 1e-9 })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const stream of this.#streams) stream.close()
    const exited = once(this.#child, 'exit')
    this.#child.disconnect()
    await exited
  }

  #next(byteLength: number): Buffer {
    if (this.#at + byteLength > this.#pool.byteLength) this.#at = 0
    this.#at += byteLength
    return this.#pool.subarray(this.#at - byteLength, this.#at)
  }
}

class Stream {
  readonly #socket: Socket
  readonly #header = Buffer.alloc(HEADER_BYTES)
  #onBytes: (bytes: Buffer) => void = () => {}

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', (bytes: Buffer) => {
      this.#onBytes(bytes)
    })
  }

  static async connect(port: number): Promise<Stream> {
    const socket = createConnection({ port, host: '127.0.0.1', noDelay: true })
    await once(socket, 'connect')
    return new Stream(socket)
  }

  async get(into: Buffer): Promise<void> {
    into[0] = into[into.byteLength - 1] = 0
    let filled = 0
    const done = new Promise<void>(resolve => {
      this.#onBytes = bytes => {
        filled += bytes.copy(into, filled)
        if (filled === into.byteLength) resolve()
      }
    })
    this.#socket.write(this.#headerOf(GET, into.byteLength))
    await done
    if (into[0] !== PATTERN || into.at(-1) !== PATTERN) throw new Error('net gave other bytes')
  }

  async put(from: Buffer): Promise<void> {
    const done = new Promise<void>(resolve => {
      this.#onBytes = () => {
        resolve()
      }
    })
    this.#socket.cork()
    this.#socket.write(this.#headerOf(PUT, from.byteLength))
    this.#socket.write(from)
    this.#socket.uncork()
    await done
  }

  close(): void {
    this.#socket.destroy()
  }

  #headerOf(operation: number, byteLength: number): Buffer {
    this.#header[0] = operation
    this.#header.writeDoubleLE(byteLength, 1)
    return this.#header
  }
}
