import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createConnection } from 'node:net'
import { fileURLToPath } from 'node:url'
import { Host, RPC_SERVICE } from '@mooncake-ts/core'
import { rpc } from '@mooncake-ts/rpc'
import { compare } from '../harness/compare.js'
import { measure } from '../harness/measure.js'
import type { Suite } from '../harness/suite.js'
import { Echo, type EchoServers } from '../peers/echo.js'

const PIPELINED = 256

/** Round trips of small calls between two processes, beside a bare ping-pong over a socket. */
export const rpcSuite: Suite = {
  name: 'rpc',
  summary: 'round trips of small calls, one after another and pipelined, beside a bare socket',
  async run(context) {
    const child = fork(fileURLToPath(new URL('../peers/echo.js', import.meta.url)))
    try {
      const [servers] = (await once(child, 'message')) as [EchoServers]
      await using host = await new Host([rpc({ listen: [] })]).start()
      const client = host.get(RPC_SERVICE).connect(servers.rpcEndpoint)
      using bare = await BareSocket.connect(servers.barePort)
      const call = async (): Promise<number> => (await client.call(Echo, { text: 'ping' })).text.length / 4
      const burst = async (count: number, one: () => Promise<number>): Promise<number> => {
        await Promise.all(Array.from({ length: count }, one))
        return count
      }
      const ping = (): Promise<number> => bare.ping(1)
      return [
        await compare(context, {
          name: 'rpc/roundtrip/sequential',
          unit: 'calls/s',
          ours: durationMs => measure(call, { durationMs }),
          ceilings: { 'node:net ping-pong': durationMs => measure(ping, { durationMs }) },
        }),
        await compare(context, {
          name: `rpc/roundtrip/pipelined${PIPELINED}`,
          unit: 'calls/s',
          ours: durationMs => measure(() => burst(PIPELINED, call), { durationMs }),
          ceilings: {
            'node:net, one write each': durationMs => measure(() => bare.ping(PIPELINED), { durationMs }),
          },
        }),
      ]
    } finally {
      await stop(child)
    }
  },
}

/** Messages of four bytes that the other side sends back. */
class BareSocket implements Disposable {
  readonly #socket
  #missingBytes = 0
  #answered: () => void = () => {}

  private constructor(socket: ReturnType<typeof createConnection>) {
    this.#socket = socket
    socket.on('data', bytes => {
      this.#missingBytes -= bytes.byteLength
      if (this.#missingBytes === 0) this.#answered()
    })
  }

  static async connect(port: number): Promise<BareSocket> {
    const socket = createConnection({ port, host: '127.0.0.1', noDelay: true })
    await once(socket, 'connect')
    return new BareSocket(socket)
  }

  async ping(count: number): Promise<number> {
    this.#missingBytes = 4 * count
    const answered = new Promise<void>(resolve => {
      this.#answered = resolve
    })
    for (let i = 0; i < count; i++) this.#socket.write('ping')
    await answered
    return count
  }

  [Symbol.dispose](): void {
    this.#socket.destroy()
  }
}

async function stop(child: ChildProcess): Promise<void> {
  if (!child.connected) return
  const exited = once(child, 'exit')
  child.disconnect()
  await exited
}
