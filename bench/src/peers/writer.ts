import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { silentLogger } from '@mooncake-ts/core'
import { masterClient } from '@mooncake-ts/master'
import { rpc } from '@mooncake-ts/rpc'
import { createStore, type Store } from '@mooncake-ts/store'
import { tcp } from '@mooncake-ts/transport-tcp'

/** What the parent tells it to do. */
export type WriterOrder = 'write' | 'pause'

/** Objects of one put. */
const BATCH = 4

/** A client without memory of its own for objects. */
export async function connect(masterEndpoint: string, name: string): Promise<Store> {
  return await createStore({
    name,
    logger: silentLogger,
    master: masterClient({ endpoints: [masterEndpoint] }),
    rpc: rpc({ listen: [] }),
    transports: [tcp()],
  })
}

/** The other process: puts `cold/0`, `cold/1`, … at a rate while it is told to, until its parent disconnects. */
async function write(masterEndpoint: string, objectBytes: number, bytesPerS: number): Promise<void> {
  await using store = await connect(masterEndpoint, 'writer')
  const values = store.createRegion(BATCH * objectBytes)
  let order: WriterOrder = 'pause'
  let gone = false
  process.on('message', message => (order = message as WriterOrder))
  process.on('disconnect', () => (gone = true))
  process.send!(0)
  for (let written = 0; !gone;) {
    await sleep((1000 * BATCH * objectBytes) / bytesPerS)
    if (order === 'pause') continue
    const entries = Array.from({ length: BATCH }, (_, i) => ({
      key: `cold/${written++}`,
      value: { region: values, offset: i * objectBytes, byteLength: objectBytes },
    }))
    const transfer = store.putMany(entries)
    transfer.completions$.subscribe({ error: () => {} })
    await transfer.done
    if (process.connected) process.send!(written)
  }
}

const [, path, masterEndpoint, objectBytes, bytesPerS] = process.argv
if (path === fileURLToPath(import.meta.url))
  void write(masterEndpoint!, Number(objectBytes), Number(bytesPerS))
