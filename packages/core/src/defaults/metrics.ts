import type { Metrics } from '../contracts/metrics.js'

const counter = Object.freeze({ add() {} })
const gauge = Object.freeze({ set() {} })
const histogram = Object.freeze({ observe() {} })

/** Counts nothing. */
export const noMetrics: Metrics = Object.freeze({
  counter: () => counter,
  gauge: () => gauge,
  histogram: () => histogram,
  expose: () => Promise.resolve({ contentType: 'text/plain', body: '' }),
})
