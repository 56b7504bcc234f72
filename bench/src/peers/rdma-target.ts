import { once } from 'node:events'
import { Host, MEMORY, TRANSPORT } from '@mooncake-ts/core'
import { memory } from '@mooncake-ts/memory'
import { rdma } from '@mooncake-ts/transport-rdma'
import { PATTERN_PERIOD } from '../harness/rdma-pair.js'

/** What the process sends to its parent when its memory can be reached. */
export interface RdmaTarget {
  readonly endpoint: string
  readonly keyHex: string
}

/** The other process: memory that peers read and write, and nothing else. */
async function serve(device: string, byteLength: number): Promise<void> {
  const host = await new Host([memory(), rdma({ deviceNames: [device] })]).start()
  const region = host.get(MEMORY).createRegion({ byteLength })
  const bytes = region.view(0, byteLength)
  for (let i = 0; i < byteLength; i++) bytes[i] = i % PATTERN_PERIOD
  const { window } = host.get(TRANSPORT).expose(region, { offset: 0, byteLength, access: 'readwrite' })
  const target: RdmaTarget = { endpoint: window.endpoint, keyHex: Buffer.from(window.key).toString('hex') }
  process.send!(target)
  await once(process, 'disconnect')
  await host.stop()
}

void serve(process.argv[2]!, Number(process.argv[3]))
