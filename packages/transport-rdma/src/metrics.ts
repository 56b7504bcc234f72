import { errorCode, type Counter, type Metrics } from '@mooncake-ts/core'

export class TransportMetrics {
  readonly #bytes: Counter
  readonly #operations: Counter
  readonly #errors: Counter
  readonly #retries: Counter

  constructor(metrics: Metrics, countLinks: () => number) {
    this.#bytes = metrics.counter({
      name: 'transport_rdma_bytes_total',
      help: 'Payload bytes moved by one-sided operations over RDMA.',
      labelNames: ['direction'],
    })
    this.#operations = metrics.counter({
      name: 'transport_rdma_operations_total',
      help: 'Operations moved over RDMA; one that is spread over devices counts once per piece.',
      labelNames: ['direction'],
    })
    this.#errors = metrics.counter({
      name: 'transport_rdma_errors_total',
      help: 'Failed operations, by code.',
      labelNames: ['code'],
    })
    this.#retries = metrics.counter({
      name: 'transport_rdma_retries_total',
      help: 'Operations that were posted again because a link broke under them.',
    })
    metrics.gauge({
      name: 'transport_rdma_links',
      help: 'Connections between RDMA devices, of both roles.',
      collect: countLinks,
    })
  }

  moved(direction: 'read' | 'write', bytes: number): void {
    this.#operations.add(1, { direction })
    this.#bytes.add(bytes, { direction })
  }

  failed(error: unknown): void {
    this.#errors.add(1, { code: errorCode(error) })
  }

  retried(): void {
    this.#retries.add(1)
  }
}
