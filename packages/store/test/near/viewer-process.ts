/** A process that looks at an object of another one without asking; for tests that stop and kill it. */
import { fileURLToPath } from 'node:url'
import { masterClient } from '@mooncake-ts/master'
import { rpc } from '@mooncake-ts/rpc'
import { until } from '@mooncake-ts/testkit'
import { createStore, type ObjectView } from '@mooncake-ts/store'
import { shm } from '@mooncake-ts/transport-shm'
import { countedCalls } from './counted-calls.js'
import { NEAR_DEADLINE_MS } from './deadlines.js'

export interface ViewerArguments {
  readonly masterEndpoint: string
  readonly socketDirectory: string
  readonly key: string
}

/** What it says when it sees the object, and whenever it is asked. */
export interface Seen {
  readonly valid: boolean
  readonly firstByte: number
}

async function main({ masterEndpoint, socketDirectory, key }: ViewerArguments): Promise<void> {
  const { metrics, calls } = countedCalls()
  const store = await createStore({
    name: 'viewer',
    master: masterClient({ endpoints: [masterEndpoint], heartbeatMs: 50 }),
    rpc: rpc({ listen: [] }),
    transports: [shm({ socketDirectory })],
    metrics,
  })
  process.on('disconnect', () => process.exit())
  let view: ObjectView | undefined
  await until(
    async () => {
      view?.[Symbol.dispose]()
      const before = calls('Client.PinKey')
      view = await store.getView(key)
      return view != null && calls('Client.PinKey') === before
    },
    { deadlineMs: NEAR_DEADLINE_MS },
  )
  const say = (): void => {
    const firstByte = view!.bytes[0]! // Read first, then ask.
    process.send!({ valid: view!.valid, firstByte } satisfies Seen)
  }
  process.on('message', say)
  say()
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  void main(JSON.parse(process.argv[2]!) as ViewerArguments)
