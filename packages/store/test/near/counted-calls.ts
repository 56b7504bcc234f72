import { definePlugin, METRICS, type Metrics, type Plugin } from '@mooncake-ts/core'

/** Counts the calls of this node to others, by method. */
export function countedCalls(): {
  readonly metrics: Plugin<Metrics>
  readonly calls: (method: string) => number
} {
  const calls = new Map<unknown, number>()
  const nothing = { add() {}, set() {}, observe() {} }
  const counter: Metrics['counter'] = ({ name }) => ({
    add: (count = 1, labels = {}) => {
      if (name === 'mooncake_rpc_calls_total')
        calls.set(labels['method'], (calls.get(labels['method']) ?? 0) + count)
    },
  })
  const metrics = { counter, gauge: () => nothing, histogram: () => nothing, onScrape: () => nothing }
  const create = definePlugin<Metrics, object>({
    name: 'counting-calls',
    provides: METRICS,
    useFactory: () => metrics as unknown as Metrics,
  })
  return { metrics: create({}), calls: method => calls.get(method) ?? 0 }
}
