/** A process that answers calls over RDMA, and lives until it is killed or its parent is gone. */
import { Host, LOGGER, RPC_SERVICE, silentLogger, value } from '@mooncake-ts/core'
import { rpc } from '@mooncake-ts/rpc'
import { rpcOverRdma } from '../../dist/index.js'
import { MIRROR, NEVER } from './rpc-methods.js'

const [device, listen] = process.argv.slice(2) as [string, string]
const host = await new Host([
  value(LOGGER, silentLogger),
  rpcOverRdma({ deviceNames: [device] }),
  rpc({ listen: [listen] }),
]).start()
const service = host.get(RPC_SERVICE)
service.handle(MIRROR, async (_request, context) => {
  const chunks: Buffer[] = []
  await context.attachment?.receive(bytes => chunks.push(Buffer.from(bytes)), context.signal)
  if (chunks.length > 0) context.attach(Buffer.concat(chunks))
  return {}
})
service.handle(NEVER, () => {
  process.send!('asked')
  return new Promise<never>(() => {})
})
process.on('disconnect', () => process.exit(0))
process.send!(service.endpoints[0])
