/**
 * A peer of its own: exposes a region, tells where, moves what it is told to, and lives until it is killed or
 * its parent is gone.
 */
import { noMetrics, silentLogger, systemClock } from '@mooncake-ts/core'
import { createRegion } from '@mooncake-ts/memory'
import { TcpTransport } from '../dist/transport.js'
import { POISON, type PeerOrder, type PeerReport, type PlainWindow } from './peer-orders.js'
import { bytesOf, codes, operation, run } from './support.js'

const byteLength = Number(process.argv[2])
const security = { allowInsecure: false }
const transport = new TcpTransport(
  { stripeBytes: byteLength }, // Frames that take long enough to be stopped in their middle.
  { clock: systemClock, logger: silentLogger, metrics: noMetrics, security },
)
await transport.start()
const region = createRegion({ byteLength })
region.view(0, byteLength).fill(0)
const { window } = transport.expose(region, { offset: 0, byteLength, access: 'readwrite' })

async function carryOut({ kind, window, byteLength, count }: PeerOrder): Promise<PeerReport> {
  const remote = { ...window, key: Uint8Array.from(window.key) }
  const batch = Array.from({ length: count }, () => operation(kind, region, remote, { byteLength }))
  const completions = await run(transport, batch)
  return { codes: codes(completions), poisoned: bytesOf(region).includes(POISON) }
}

process.on('message', (order: PeerOrder) => {
  void carryOut(order).then(report => process.send!(report))
})
process.on('disconnect', () => process.exit(0))
const plain: PlainWindow = { ...window, key: [...window.key] }
process.send!(plain)
