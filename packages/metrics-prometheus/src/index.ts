/**
 * Metrics in the Prometheus text format, over prom-client with a registry of its own.
 *
 * @packageDocumentation
 */
import { definePlugin, METRICS, type Metrics } from '@mooncake-ts/core'
import { PrometheusMetrics, type PrometheusOptions } from './prometheus-metrics.js'

export { PrometheusMetrics, type PrometheusOptions } from './prometheus-metrics.js'

/**
 * The plugin.
 *
 * @example
 * const master = await createMaster({ metrics: prometheus() })
 */
export const prometheus = definePlugin<Metrics, PrometheusOptions>({
  name: '@mooncake-ts/metrics-prometheus',
  provides: METRICS,
  useFactory: options => new PrometheusMetrics(options),
})
