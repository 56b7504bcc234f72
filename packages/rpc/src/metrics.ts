import type { Counter, ErrorCode, Histogram, Labels, Metrics } from '@mooncake-ts/core'

const SECONDS_BUCKETS = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10]

/** `OK` or the code of the error. */
export type Outcome = 'OK' | ErrorCode

export class RpcMetrics {
  readonly #calls: Counter
  readonly #requests: Counter
  readonly #requestSeconds: Histogram
  readonly #brokenConnections: Counter
  /** Label objects are made once for each pair, not once for each call. */
  readonly #labels = new Map<string, Map<Outcome, Labels>>()

  constructor(metrics: Metrics) {
    this.#calls = metrics.counter({
      name: 'mooncake_rpc_calls_total',
      help: 'Calls that this process made, by method and outcome',
      labelNames: ['method', 'outcome'],
    })
    this.#requests = metrics.counter({
      name: 'mooncake_rpc_requests_total',
      help: 'Requests that this process served, by method and outcome',
      labelNames: ['method', 'outcome'],
    })
    this.#requestSeconds = metrics.histogram({
      name: 'mooncake_rpc_request_seconds',
      help: 'Time in the handler, by method and outcome',
      labelNames: ['method', 'outcome'],
      buckets: SECONDS_BUCKETS,
    })
    this.#brokenConnections = metrics.counter({
      name: 'mooncake_rpc_broken_connections_total',
      help: 'Connections closed because of what the peer sent or did not send, by error code',
      labelNames: ['code'],
    })
  }

  call(method: string, outcome: Outcome): void {
    this.#calls.add(1, this.#labelsOf(method, outcome))
  }

  request(method: string, outcome: Outcome, tookMs: number): void {
    const labels = this.#labelsOf(method, outcome)
    this.#requests.add(1, labels)
    this.#requestSeconds.observe(tookMs / 1000, labels)
  }

  brokenConnection(code: ErrorCode): void {
    this.#brokenConnections.add(1, { code })
  }

  #labelsOf(method: string, outcome: Outcome): Labels {
    let byOutcome = this.#labels.get(method)
    if (byOutcome == null) this.#labels.set(method, (byOutcome = new Map()))
    let labels = byOutcome.get(outcome)
    if (labels == null) byOutcome.set(outcome, (labels = { method, outcome }))
    return labels
  }
}
