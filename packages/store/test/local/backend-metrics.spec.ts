import type { Labels, MetricOptions, Metrics } from '@mooncake-ts/core'
import { expect } from 'chai'
import { Harness } from './support/harness.js'

/** Remembers the last value of every gauge, the sum of every counter and all that histograms saw. */
class Recorder implements Metrics {
  readonly values = new Map<string, number>()
  readonly observed: number[] = []
  readonly #collect = new Map<string, () => number>()

  counter({ name }: MetricOptions) {
    return {
      add: (amount = 1, labels?: Labels) => {
        this.#set(name, labels, value => value + amount)
      },
    }
  }

  gauge({ name, collect }: MetricOptions & { collect?: () => number }) {
    if (collect != null) this.#collect.set(name, collect)
    return {
      set: (value: number, labels?: Labels) => {
        this.#set(name, labels, () => value)
      },
    }
  }

  histogram() {
    return { observe: (value: number) => void this.observed.push(value) }
  }

  expose(): Promise<{ contentType: string; body: string }> {
    for (const [name, collect] of this.#collect) this.#set(name, undefined, collect)
    return Promise.resolve({ contentType: 'none', body: '' })
  }

  #set(name: string, labels: Labels | undefined, next: (value: number) => number): void {
    const key = labels == null ? name : `${name}{${Object.values(labels).join()}}`
    this.values.set(key, next(this.values.get(key) ?? 0))
  }
}

describe('TieredBackend: metrics', () => {
  it('tells what it holds, what it evicted and who waited for how long', async () => {
    const metrics = new Recorder()
    await using h = Harness.dram(30, { metrics })
    for (const key of ['a', 'b', 'c', 'd']) await h.put(key, 10, { hardPin: key === 'd' })
    const held = h.space(20)
    const waiting = h.wait(20, 5000)
    await h.clock.advance(1000)
    await h.get('d')
    await h.get('d')
    await metrics.expose()
    expect(Object.fromEntries(metrics.values)).to.deep.equal({
      store_keys: 1,
      store_waiting_reservations: 1,
      'store_evictions_total{dram-0}': 3,
      'store_evicted_bytes_total{dram-0}': 30,
      'store_tier_capacity_bytes{dram-0}': 30,
      'store_tier_used_bytes{dram-0}': 30,
      'store_tier_keys{dram-0}': 1,
      'store_tier_reads_total{dram-0}': 2,
    })
    await h.clock.advance(200)
    held.abandon()
    ;(await waiting).abandon()
    expect(metrics.observed).to.deep.equal([1200])
  })
})
