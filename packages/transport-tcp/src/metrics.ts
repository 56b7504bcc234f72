import { errorCode, type Counter, type Metrics } from '@mooncake-ts/core'

type Role = 'initiator' | 'target'
type Direction = 'read' | 'write'

/** Adds up per frame, not per byte or operation: counting must not cost what it counts. */
export class TransportMetrics {
  readonly #bytes: Counter
  readonly #operations: Counter
  readonly #errors: Counter

  constructor(metrics: Metrics, countLanes: () => number) {
    this.#bytes = metrics.counter({
      name: 'transport_tcp_bytes_total',
      help: 'Payload bytes moved by one-sided operations over TCP.',
      labelNames: ['role', 'direction'],
    })
    this.#operations = metrics.counter({
      name: 'transport_tcp_operations_total',
      help: 'Descriptors of frames that were moved over TCP; a striped operation counts once per stripe.',
      labelNames: ['role', 'direction'],
    })
    this.#errors = metrics.counter({
      name: 'transport_tcp_errors_total',
      help: 'Failed operations and closed lanes, by code.',
      labelNames: ['role', 'code'],
    })
    metrics.gauge({
      name: 'transport_tcp_lanes',
      help: 'Open TCP lanes, of both roles.',
      collect: countLanes,
    })
  }

  moved(role: Role, direction: Direction, operations: number, bytes: number): void {
    if (operations === 0) return
    this.#operations.add(operations, { role, direction })
    this.#bytes.add(bytes, { role, direction })
  }

  failed(role: Role, error: unknown): void {
    this.#errors.add(1, { role, code: errorCode(error) })
  }
}
