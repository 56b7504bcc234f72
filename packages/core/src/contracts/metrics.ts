export type Labels = Readonly<Record<string, string>>

export interface MetricOptions {
  readonly name: string
  readonly help: string
  readonly labelNames?: readonly string[]
}

export interface Counter {
  add(amount?: number, labels?: Labels): void
}

export interface Gauge {
  set(value: number, labels?: Labels): void
}

export interface Histogram {
  observe(value: number, labels?: Labels): void
}

export interface Metrics {
  /** The same instrument for the same name. */
  counter(options: MetricOptions): Counter
  gauge(options: MetricOptions & { /** Asked at every scrape. */ readonly collect?: () => number }): Gauge
  histogram(options: MetricOptions & { readonly buckets: readonly number[] }): Histogram
  /** The text that a scraper reads. */
  expose(): Promise<{ readonly contentType: string; readonly body: string }>
}
