/** A process that holds objects and shows neighbours where; for tests that stop and kill it. */
import { fileURLToPath } from 'node:url'
import { kib } from '@mooncake-ts/core'
import { masterClient } from '@mooncake-ts/master'
import { rpc } from '@mooncake-ts/rpc'
import { createStore } from '@mooncake-ts/store'
import { dram } from '@mooncake-ts/tier-dram'
import { shm } from '@mooncake-ts/transport-shm'

export interface OwnerArguments {
  readonly masterEndpoint: string
  readonly rpcEndpoint: string
  readonly socketDirectory: string
  readonly capacityBytes: number
  /** Writes these keys, in turns and for ever. @defaultValue none */
  readonly keyCount?: number
}

const BATCH_OBJECTS = 8
export const WRITTEN_BYTES_MAX = kib(65)

/** Of a key, the n-th of all that were written: nothing else has any eight bytes of it. */
export function writtenValue(keyIndex: number, n: number): Buffer {
  const word = Buffer.alloc(8)
  word.writeUInt32LE(keyIndex, 0)
  word.writeUInt32LE(n, 4)
  return Buffer.alloc(kib(64) + 8 * (n % 7), word)
}

async function main(options: OwnerArguments): Promise<void> {
  const { masterEndpoint, rpcEndpoint, socketDirectory, capacityBytes, keyCount = 0 } = options
  const store = await createStore({
    name: 'owner',
    master: masterClient({ endpoints: [masterEndpoint], heartbeatMs: 50 }),
    rpc: rpc({ listen: [rpcEndpoint] }),
    transports: [shm({ socketDirectory })],
    tiers: [dram({ capacityBytes })],
  })
  process.on('disconnect', () => process.exit())
  process.send!('ready')
  for (let n = 1; keyCount > 0; n += BATCH_OBJECTS) {
    const entries = Array.from({ length: BATCH_OBJECTS }, (_, i) => {
      const index = (n + i) % keyCount
      return { key: `k${index}`, value: writtenValue(index, n + i) }
    })
    await store.putMany(entries, { upsert: true }).done
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  void main(JSON.parse(process.argv[2]!) as OwnerArguments)
