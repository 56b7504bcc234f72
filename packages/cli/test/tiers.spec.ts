import { writeFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { GIB, MIB } from '@mooncake-ts/core'
import { expect } from 'chai'
import { parseTiers } from '../dist/flags/tiers.js'

const parse = (...tiers: object[]) => parseTiers(JSON.stringify({ tiers })).tiers
const withScheduler = (scheduler: object) =>
  parseTiers(JSON.stringify({ tiers: [{ type: 'DRAM', capacity: 4096 }], scheduler })).scheduler

describe('parseTiers', () => {
  it('gives tiers from fast to slow, with what was said about each', () => {
    const plugins = parse(
      { type: 'DRAM', capacity: '16MiB', priority: 10, tags: ['slow'] },
      { type: 'DRAM', capacity: 32 * MIB, priority: 100, allocator_type: 'OFFSET' },
    )
    const [fast, slow] = plugins.map(plugin => plugin.options)
    // Named by their place in the file.
    expect(fast).to.include({ name: 'dram-1', capacityBytes: 32 * MIB, priority: 100 })
    expect(slow).to.deep.include({ name: 'dram-0', capacityBytes: 16 * MIB, priority: 10, tags: ['slow'] })
  })

  it('reads a file where it is not JSON', () => {
    const dir = mkdtempSync(join(tmpdir(), 'mooncake-tiers-'))
    try {
      const path = join(dir, 'tiers.json')
      writeFileSync(path, '{"tiers":[{"type":"DRAM","capacity":4096}]}')
      expect(parseTiers(path).tiers).to.have.length(1)
      writeFileSync(path, '{"tiers":')
      expect(() => parseTiers(path)).to.throw(`${path}: not valid JSON`)
    } finally {
      rmSync(dir, { recursive: true })
    }
  })

  const ok = { type: 'DRAM', capacity: 4096 }
  const disk = { type: 'DISK', capacity: '1GB', storage_filepath: '/mnt' }
  const WRONG: ReadonlyArray<readonly [words: string, tiers: readonly object[]]> = [
    ['tiers: ', []],
    ['tiers/1/type: unknown tier type "TAPE"', [ok, { ...ok, type: 'TAPE' }]],
    ['tiers/0/type: this tier of the reference system is not built yet', [{ ...ok, type: 'ASCEND_NPU' }]],
    ['tiers/0/type: ', [{ capacity: 1 }]],
    ['tiers/0/capacity: expected more than 0 bytes', [{ ...ok, capacity: 0 }]],
    ['tiers/0/capacity: expected more than 0 bytes', [{ ...ok, capacity: '0GB' }]],
    ['tiers/0/capacity: expected more than 0 bytes', [{ ...ok, capacity: 'plenty' }]],
    ['tiers/0/capacity: ', [{ ...ok, capacity: -1 }]],
    ['tiers/0/priority: ', [{ ...ok, priority: 'high' }]],
    ['tiers/0/allocator_type: expected OFFSET', [{ ...ok, allocator_type: 'CACHELIB' }]],
    ['tiers/0/numa_node: ', [{ ...ok, numa_node: 1 }]],
    ['tiers/0/colour: ', [{ ...ok, colour: 1 }]],
    ['tiers/0/durability: means nothing for a DRAM tier', [{ ...ok, durability: 'ack-on-write' }]],
    ['tiers/0/storage_filepath: ', [{ ...disk, storage_filepath: '' }]],
    ['tiers/0/durability: expected ack-on-write or ack-on-fsync', [{ ...disk, durability: 'never' }]],
    ['tiers/0/allocator_type: means nothing for a tier on a disk', [{ ...disk, allocator_type: 'OFFSET' }]],
    ['tiers/0/total_size_limit: expected more than 0 bytes', [{ ...disk, total_size_limit: 0 }]],
    ['tiers/0/bucket_keys_limit: not built yet; only 500', [{ ...disk, bucket_keys_limit: 100 }]],
    ['tiers/0/bucket_size_limit: not built yet; only "256MB"', [{ ...disk, bucket_size_limit: '1GB' }]],
  ]
  for (const [words, tiers] of WRONG) {
    it(`refuses ${JSON.stringify(tiers)} by the path of the field`, () => {
      expect(() => parse(...tiers))
        .to.throw(`--tiered_backend_config: ${words}`)
        .with.property('code', 'ERR_CONFIG')
    })
  }

  it('makes tiers on disks, below memory that direct I/O can use in place', () => {
    const plugins = parse(
      {
        type: 'STORAGE',
        capacity: '1TB',
        storage_filepath: '/data/file_storage',
        total_size_limit: '512GB',
        staging_buffer_capacity: '128MB',
        storage_backend_type: 'bucket_storage_backend',
        batch_size_threshold: '64MB',
        batch_count_threshold: 1000,
        bucket_size_limit: 256 * MIB,
        bucket_keys_limit: 500,
      },
      { type: 'DRAM', capacity: '16MiB' },
      { type: 'DISK', capacity: '4MiB', storage_filepath: '/hdd', priority: 1, durability: 'ack-on-fsync' },
    )
    const [memory, flash, disk] = plugins.map(plugin => plugin.options)
    expect(memory).to.include({ name: 'dram-1', alignmentBytes: 4096, prefault: true })
    expect(flash).to.include({
      name: 'ssd-0',
      directory: '/data/file_storage',
      capacityBytes: 512 * GIB,
      stagingBytes: 128 * MIB,
      durability: 'ack-on-write',
      priority: 10,
    })
    expect(disk).to.include({ name: 'ssd-2', directory: '/hdd', durability: 'ack-on-fsync', priority: 1 })
  })

  it('reads the scheduler block by the names of the reference system', () => {
    expect(withScheduler({})).to.deep.equal({})
    const sample = {
      type: 'event_driven',
      policy: 'multi_lru',
      tier_role_mode: 'auto',
      fast_tier_tag: '',
      slow_tier_tag: '',
      thread_count: 2,
      queue_capacity: 1024,
      evict_watermark_low: 0.7,
      evict_watermark_high: 0.9,
      limit_watermark: 0.95,
      evict_rate_k: 1,
      evict_load_window_s: 2,
      offload_freq_threshold: 2,
      onboard_freq_threshold: 4,
      onboard_fast_threshold: 0.5,
      sketch_capacity: 65_536,
      candidate_scan_limit: 4096,
      band_warm_threshold: 3,
      band_hot_threshold: 8,
      band_veryhot_threshold: 15,
      loop_interval_ms: 1000,
      hot_key_num: 2000,
    }
    const scheduler = withScheduler(sample)
    expect(scheduler).to.deep.equal({
      backgroundOpsMax: 2,
      promotionsQueuedMax: 1024,
      demotionLowWatermark: 0.7,
      demotionHighWatermark: 0.9,
      limitWatermark: 0.95,
      demotionAccessesMin: 2,
      promotionAccessesMin: 4,
      promotionFreelyBelow: 0.5,
      sketchKeysMax: 65_536,
    })
  })

  const WRONG_SCHEDULERS: ReadonlyArray<readonly [words: string, scheduler: object]> = [
    ['scheduler/type: not built yet; only "event_driven"', { type: 'legacy' }],
    ['scheduler/tier_role_mode: not built yet', { tier_role_mode: 'manual' }],
    ['scheduler/fast_tier_tag: not built yet', { fast_tier_tag: 'fast' }],
    ['scheduler/hot_key_num: not built yet; only 2000', { hot_key_num: 1 }],
    ['scheduler/promotion_threshold: ', { promotion_threshold: 5 }],
    ['scheduler/evict_watermark_high: ', { evict_watermark_high: 1.5 }],
    [
      'scheduler/evict_watermark_low: must not be above',
      { evict_watermark_low: 0.9, evict_watermark_high: 0.8 },
    ],
    [
      'scheduler/evict_watermark_high: must not be above',
      { evict_watermark_high: 0.9, limit_watermark: 0.8 },
    ],
    ['scheduler/onboard_freq_threshold: ', { onboard_freq_threshold: 16 }],
    ['scheduler/thread_count: ', { thread_count: 0 }],
  ]
  for (const [words, scheduler] of WRONG_SCHEDULERS) {
    it(`refuses the scheduler ${JSON.stringify(scheduler)} by the path of the field`, () => {
      expect(() => withScheduler(scheduler))
        .to.throw(`--tiered_backend_config: ${words}`)
        .with.property('code', 'ERR_CONFIG')
    })
  }

  it('refuses what is neither JSON nor a file', () => {
    expect(() => parseTiers('DRAM')).to.throw('neither JSON nor the path of a file')
    expect(() => parseTiers('{"tiers"')).to.throw('not valid JSON')
  })
})
