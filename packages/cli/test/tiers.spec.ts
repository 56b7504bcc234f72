import { writeFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MIB } from '@mooncake-ts/core'
import { expect } from 'chai'
import { parseTiers } from '../dist/flags/tiers.js'

const parse = (...tiers: object[]) => parseTiers(JSON.stringify({ tiers }))

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
      expect(parseTiers(path)).to.have.length(1)
      writeFileSync(path, '{"tiers":')
      expect(() => parseTiers(path)).to.throw(`${path}: not valid JSON`)
    } finally {
      rmSync(dir, { recursive: true })
    }
  })

  const ok = { type: 'DRAM', capacity: 4096 }
  const WRONG: ReadonlyArray<readonly [words: string, tiers: readonly object[]]> = [
    ['tiers: ', []],
    ['tiers/1/type: unknown tier type "TAPE"', [ok, { ...ok, type: 'TAPE' }]],
    ['tiers/0/type: this tier of the reference system is not built yet', [{ ...ok, type: 'STORAGE' }]],
    ['tiers/0/type: ', [{ capacity: 1 }]],
    ['tiers/0/capacity: expected more than 0 bytes', [{ ...ok, capacity: 0 }]],
    ['tiers/0/capacity: expected more than 0 bytes', [{ ...ok, capacity: '0GB' }]],
    ['tiers/0/capacity: expected more than 0 bytes', [{ ...ok, capacity: 'plenty' }]],
    ['tiers/0/capacity: ', [{ ...ok, capacity: -1 }]],
    ['tiers/0/priority: ', [{ ...ok, priority: 'high' }]],
    ['tiers/0/allocator_type: expected OFFSET', [{ ...ok, allocator_type: 'CACHELIB' }]],
    ['tiers/0/numa_node: ', [{ ...ok, numa_node: 1 }]],
    ['tiers/0/colour: ', [{ ...ok, colour: 1 }]],
  ]
  for (const [words, tiers] of WRONG) {
    it(`refuses ${JSON.stringify(tiers)} by the path of the field`, () => {
      expect(() => parse(...tiers))
        .to.throw(`--tiered_backend_config: ${words}`)
        .with.property('code', 'ERR_CONFIG')
    })
  }

  it('refuses what is neither JSON nor a file', () => {
    expect(() => parseTiers('DRAM')).to.throw('neither JSON nor the path of a file')
    expect(() => parseTiers('{"tiers"')).to.throw('not valid JSON')
  })
})
