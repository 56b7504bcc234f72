import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createConnection } from 'node:net'
import { fileURLToPath } from 'node:url'
import { Host, RPC_SERVICE } from '@mooncake-ts/core'
import { rpc } from '@mooncake-ts/rpc'
import { measure, type Measurement } from '../harness/measure.js'
import { withRatio, type Result, type Suite } from '../harness/result.js'
import { median } from '../harness/stats.js'
import { Echo, type EchoServers } from '../peers/echo.js'

const PIPELINED = 256

/** Round trips of small calls between two processes, beside a bare ping-pong over a socket. */
export const rpcSuite: Suite = {
  name: 'rpc',
  summary: 'round trips of small calls, one after another and pipelined, beside a bare socket',
  async run({ short, say }) {
    const child = fork(fileURLToPath(new URL('../peers/echo.js', import.meta.url)))
    const [servers] = (await once(child, 'message')) as [EchoServers]
    await using host = await new Host([rpc({ listen: [] })]).start()
    const client = host.get(RPC_SERVICE).connect(servers.rpcEndpoint)
    const call = async (): Promise<number> => (await client.call(Echo, { text: 'ping' })).text.length / 4
    const burst = async (): Promise<number> => {
      await Promise.all(Array.from({ length: PIPELINED }, call))
      return PIPELINED
    }
    const bare = await connectBare(servers.barePort)
    const durationMs = short ? 50 : 500
    const figures = {
      sequential: [] as Measurement[],
      pipelined: [] as Measurement[],
      bare: [] as Measurement[],
    }
    for (let round = 0; round < (short ? 1 : 3); round++) {
      figures.bare.push(await measure(bare.ping, { durationMs }))
      figures.sequential.push(await measure(call, { durationMs }))
      figures.pipelined.push(await measure(burst, { durationMs }))
      say(`rpc round ${round + 1}`)
    }
    bare.close()
    await stop(child)
    const ceiling = median(figures.bare.map(m => m.perSecond))
    return [
      result('rpc/roundtrip/sequential', figures.sequential, ceiling),
      result(`rpc/roundtrip/pipelined${PIPELINED}`, figures.pipelined),
    ]
  },
}

function result(name: string, rounds: readonly Measurement[], ceiling?: number): Result {
  return withRatio({
    name,
    value: median(rounds.map(m => m.perSecond)),
    unit: 'calls/s',
    p50Us: median(rounds.map(m => m.p50Us)),
    p99Us: median(rounds.map(m => m.p99Us)),
    ...(ceiling == null ? {} : { ceiling }),
  })
}

async function connectBare(port: number): Promise<{ ping: () => Promise<number>; close: () => void }> {
  const socket = createConnection({ port, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  let answered: () => void = () => {}
  socket.on('data', () => {
    answered()
  })
  const ping = (): Promise<number> =>
    new Promise(resolve => {
      answered = () => {
        resolve(1)
      }
      socket.write('ping')
    })
  return {
    ping,
    close: () => {
      socket.destroy()
    },
  }
}

async function stop(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit')
  child.disconnect()
  await exited
}
