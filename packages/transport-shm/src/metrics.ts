import { errorCode, type Counter, type Metrics } from '@mooncake-ts/core'

type Role = 'initiator' | 'target'
type Direction = 'read' | 'write'

interface Moved {
  readonly role: Role
  readonly direction: Direction
  operations: number
  bytes: number
}

export class TransportMetrics {
  readonly #bytes: Counter
  readonly #operations: Counter
  readonly #errors: Counter
  readonly #moved: Moved[] = []

  constructor(metrics: Metrics, countPeers: () => number) {
    this.#bytes = metrics.counter({
      name: 'transport_shm_bytes_total',
      help: 'Payload bytes moved by one-sided operations over shared memory.',
      labelNames: ['role', 'direction'],
    })
    this.#operations = metrics.counter({
      name: 'transport_shm_operations_total',
      help: 'Operations moved over shared memory.',
      labelNames: ['role', 'direction'],
    })
    this.#errors = metrics.counter({
      name: 'transport_shm_errors_total',
      help: 'Failed operations and refused peers, by code.',
      labelNames: ['role', 'code'],
    })
    metrics.gauge({
      name: 'transport_shm_peers',
      help: 'Connected processes of this host, of both roles.',
      collect: countPeers,
    })
  }

  /** Told to the instruments once a turn: a small copy costs less than to count it. */
  moved(role: Role, direction: Direction, bytes: number): void {
    const last = this.#moved.at(-1)
    if (last?.role === role && last.direction === direction) {
      last.operations++
      last.bytes += bytes
    } else if (this.#moved.push({ role, direction, operations: 1, bytes }) === 1) {
      queueMicrotask(() => {
        this.#tell()
      })
    }
  }

  failed(role: Role, error: unknown): void {
    this.#errors.add(1, { role, code: errorCode(error) })
  }

  #tell(): void {
    for (const { role, direction, operations, bytes } of this.#moved.splice(0)) {
      this.#operations.add(operations, { role, direction })
      this.#bytes.add(bytes, { role, direction })
    }
  }
}
