import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client'
import type {
  Counter as CounterContract,
  Gauge as GaugeContract,
  Histogram as HistogramContract,
  MetricOptions,
  Metrics,
  Startable,
} from '@mooncake-ts/core'

export interface PrometheusOptions {
  /** Put before every name. @defaultValue '' */
  readonly prefix?: string
  /** Also the process's own: CPU, memory, event loop, garbage collection. @defaultValue true */
  readonly defaultMetrics?: boolean
}

/** A gauge and whoever is asked for its value at a scrape. */
interface GaugeEntry extends GaugeContract {
  collect: (() => number) | undefined
}

/**
 * The `Metrics` contract over one prom-client registry. A name belongs to one kind of instrument: asking for
 * it as another kind is a mistake in the program, hence a TypeError.
 */
export class PrometheusMetrics implements Metrics, Startable {
  readonly #registry = new Registry()
  readonly #prefix: string
  readonly #defaultMetrics: boolean
  readonly #counters = new Map<string, CounterContract>()
  readonly #gauges = new Map<string, GaugeEntry>()
  readonly #histograms = new Map<string, HistogramContract>()

  constructor(options: PrometheusOptions) {
    this.#prefix = options.prefix ?? ''
    this.#defaultMetrics = options.defaultMetrics ?? true
  }

  start(): void {
    if (this.#defaultMetrics) collectDefaultMetrics({ register: this.#registry, prefix: this.#prefix })
  }

  stop(): void {
    this.#registry.clear()
  }

  counter(options: MetricOptions): CounterContract {
    return this.#once(this.#counters, options.name, () => {
      const counter = new Counter(this.#configuration(options))
      return {
        add: (amount = 1, labels) => {
          if (labels == null) counter.inc(amount)
          else counter.inc(labels, amount)
        },
      }
    })
  }

  /**
   * Asked for again with another `collect`, the newest one counts: its predecessor belonged to a part that
   * was replaced.
   */
  gauge(options: MetricOptions & { readonly collect?: () => number }): GaugeContract {
    const entry = this.#once(this.#gauges, options.name, () => this.#makeGauge(options))
    entry.collect = options.collect ?? entry.collect
    return entry
  }

  histogram(options: MetricOptions & { readonly buckets: readonly number[] }): HistogramContract {
    return this.#once(this.#histograms, options.name, () => {
      const histogram = new Histogram({ ...this.#configuration(options), buckets: [...options.buckets] })
      return {
        observe: (value, labels) => {
          if (labels == null) histogram.observe(value)
          else histogram.observe(labels, value)
        },
      }
    })
  }

  async expose(): Promise<{ readonly contentType: string; readonly body: string }> {
    return { contentType: this.#registry.contentType, body: await this.#registry.metrics() }
  }

  #makeGauge(options: MetricOptions): GaugeEntry {
    const entry: GaugeEntry = {
      collect: undefined,
      set: (value, labels) => {
        if (labels == null) gauge.set(value)
        else gauge.set(labels, value)
      },
    }
    const gauge = new Gauge({
      ...this.#configuration(options),
      collect() {
        if (entry.collect != null) this.set(valueOrNan(entry.collect))
      },
    })
    return entry
  }

  #once<T>(instruments: Map<string, T>, name: string, make: () => T): T {
    const known = instruments.get(name)
    if (known != null) return known
    if (this.#counters.has(name) || this.#gauges.has(name) || this.#histograms.has(name)) {
      throw new TypeError(`The metric ${name} exists as another kind of instrument`)
    }
    const made = make()
    instruments.set(name, made)
    return made
  }

  #configuration({ name, help, labelNames = [] }: MetricOptions): {
    name: string
    help: string
    labelNames: string[]
    registers: Registry[]
  } {
    return { name: this.#prefix + name, help, labelNames: [...labelNames], registers: [this.#registry] }
  }
}

/** One broken callback must not take the whole scrape down; NaN shows where to look. */
function valueOrNan(collect: () => number): number {
  try {
    return collect()
  } catch {
    return NaN
  }
}
