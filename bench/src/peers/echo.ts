import { createServer } from 'node:net'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { Host, RPC_SERVICE } from '@mooncake-ts/core'
import { defineMethod, rpc, Type } from '@mooncake-ts/rpc'

const Message = Type.Object({ text: Type.String() })

export const Echo = defineMethod('Bench.Echo', { request: Message, response: Message })

/** What the process sends to its parent when it listens. */
export interface EchoServers {
  readonly rpcEndpoint: string
  readonly barePort: number
}

/** The other process: answers calls, and bytes on a bare socket, until its parent disconnects. */
async function serve(): Promise<void> {
  const host = await new Host([rpc({ listen: ['127.0.0.1:0'] })]).start()
  const service = host.get(RPC_SERVICE)
  service.handle(Echo, message => message)
  const bare = createServer({ noDelay: true }, socket => {
    socket.pipe(socket)
  }).listen(0, '127.0.0.1')
  await once(bare, 'listening')
  const servers: EchoServers = {
    rpcEndpoint: service.endpoints[0]!,
    barePort: (bare.address() as AddressInfo).port,
  }
  process.send!(servers)
  await once(process, 'disconnect')
  bare.close()
  await host.stop()
}

if (process.argv[1] === fileURLToPath(import.meta.url)) void serve()
