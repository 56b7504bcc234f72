/** A peer of its own: exposes a region, tells where, and lives until it is killed or its parent is gone. */
import { noMetrics, silentLogger, systemClock } from '@mooncake-ts/core'
import { createRegion } from '@mooncake-ts/memory'
import { TcpTransport } from '../dist/transport.js'

const byteLength = Number(process.argv[2])
const security = { allowInsecure: false }
const transport = new TcpTransport(
  {},
  { clock: systemClock, logger: silentLogger, metrics: noMetrics, security },
)
await transport.start()
const region = createRegion({ byteLength })
region.view(0, byteLength).fill(0)
const { window } = transport.expose(region, { offset: 0, byteLength, access: 'readwrite' })
process.send!({ ...window, key: [...window.key] })
process.on('disconnect', () => process.exit(0))
