import type { IoEngine, Ring } from '@mooncake-ts/io-uring'

/** What all lanes of a transport share. */
export class LaneIo {
  readonly engine: IoEngine
  readonly #bulkThresholdBytes: number
  #nextBulk = 0

  constructor(engine: IoEngine, bulkThresholdBytes: number) {
    this.engine = engine
    this.#bulkThresholdBytes = bulkThresholdBytes
  }

  isBulk(byteLength: number): boolean {
    return byteLength >= this.#bulkThresholdBytes
  }

  /** Spreads lanes over the bulk threads. */
  nextBulkRing(): Ring {
    const { bulk, inline } = this.engine
    return bulk[this.#nextBulk++ % bulk.length] ?? inline
  }
}
