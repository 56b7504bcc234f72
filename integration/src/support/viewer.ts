/** A process that holds a view of one object, and says how it is when asked. */
import { fileURLToPath } from 'node:url'
import { masterClient } from '@mooncake-ts/master'
import { rpc } from '@mooncake-ts/rpc'
import { createStore } from '@mooncake-ts/store'
import { shm } from '@mooncake-ts/transport-shm'

export interface ViewerArguments {
  readonly masterEndpoint: string
  readonly socketDirectory: string
  readonly key: string
}

export interface ViewReport {
  readonly source: string
  readonly valid: boolean
  /** Before `valid` was asked. */
  readonly firstByte: number
}

async function main({ masterEndpoint, socketDirectory, key }: ViewerArguments): Promise<void> {
  const store = await createStore({
    name: `viewer-${process.pid}`,
    master: masterClient({ endpoints: [masterEndpoint] }),
    rpc: rpc({ listen: [] }),
    transports: [shm({ socketDirectory })],
  })
  const view = await store.getView(key)
  const report = (): void => {
    const firstByte = view!.bytes[0]!
    const { source, valid } = view!
    process.send!({ source, valid, firstByte } satisfies ViewReport)
  }
  report()
  process.on('message', report)
  process.on('disconnect', () => process.exit())
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  void main(JSON.parse(process.argv[2]!) as ViewerArguments)
