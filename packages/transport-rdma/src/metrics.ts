import { errorCode, type Counter, type Metrics } from '@mooncake-ts/core'

export class TransportMetrics {
  readonly #bytes: Counter
  readonly #operations: Counter
  readonly #errors: Counter
  readonly #retries: Counter
  readonly #staged: Counter

  constructor(
    metrics: Metrics,
    count: { links(): number; stagingBytes(): number; stagingWaiting(): number },
  ) {
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
      collect: () => count.links(),
    })
    this.#staged = metrics.counter({
      name: 'transport_rdma_staged_bytes_total',
      help: "Bytes of callers' own buffers that were copied through the staging memory.",
      labelNames: ['direction'],
    })
    metrics.gauge({
      name: 'transport_rdma_staging_bytes',
      help: 'Staging memory in use.',
      collect: () => count.stagingBytes(),
    })
    metrics.gauge({
      name: 'transport_rdma_staging_waiting',
      help: 'Operations that wait for room in the staging memory.',
      collect: () => count.stagingWaiting(),
    })
  }

  moved(direction: 'read' | 'write', bytes: number): void {
    this.#operations.add(1, { direction })
    this.#bytes.add(bytes, { direction })
  }

  failed(error: unknown): void {
    this.#errors.add(1, { code: errorCode(error) })
  }

  staged(direction: 'read' | 'write', bytes: number): void {
    this.#staged.add(bytes, { direction })
  }

  retried(): void {
    this.#retries.add(1)
  }
}
