import { definePlugin, METRICS, type Metrics, type Plugin } from '@mooncake-ts/core'

/** Counts what this node has read out of the memory of others by itself. */
export function countedReads(): { readonly metrics: Plugin<Metrics>; readonly reads: () => number } {
  let reads = 0
  const nothing = { add() {}, set() {}, observe() {} }
  const counter: Metrics['counter'] = ({ name }) => ({
    add: (count = 1, labels = {}) => {
      const isRead = Object.values(labels).includes('read') && Object.values(labels).includes('initiator')
      if (isRead && name.includes('operations')) reads += count
    },
  })
  const metrics = { counter, gauge: () => nothing, histogram: () => nothing, onScrape: () => nothing }
  const create = definePlugin<Metrics, object>({
    name: 'counting',
    provides: METRICS,
    useFactory: () => metrics as unknown as Metrics,
  })
  return { metrics: create({}), reads: () => reads }
}
