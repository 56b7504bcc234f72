import { writeFile } from 'node:fs/promises'
import Table from 'cli-table3'
import { MooncakeError } from '@mooncake-ts/core'
import { EVICTION_POLICIES } from '@mooncake-ts/store'
import { EVICTION_POLICY } from '../flags/client.js'
import { HELP_SHOWN, loadSettings } from '../flags/load.js'
import type { Flag } from '../flags/spec.js'
import { readTrace } from '../replay/workload.js'
import { SIMULATE_SUMMARY } from './summaries.js'
import { simulate, type BlockIds, type SimulatedRatios } from '../simulate/simulate.js'

/** Settings of `mooncake simulate`. */
export const SIMULATE_FLAGS: readonly Flag[] = [
  { name: 'trace', type: 'string', help: 'JSON-lines trace', default: '' },
  { ...EVICTION_POLICY, name: 'policy', help: 'Who goes when the tier is full' },
  {
    name: 'capacity',
    type: 'string',
    help: 'Blocks that the tier has room for; several with commas',
    default: '1000,3000,10000,30000,50000',
  },
  { name: 'json', type: 'string', help: 'File for the figures', default: '' },
]

/** `mooncake simulate`: the classes that the store runs, without bytes. */
export async function runSimulate(argv: readonly string[]): Promise<number> {
  const invocation = loadSettings({
    program: 'mooncake simulate',
    summary: SIMULATE_SUMMARY,
    flags: SIMULATE_FLAGS,
    argv,
    env: process.env,
  })
  if (invocation === HELP_SHOWN) return 0
  const { trace, policy, capacity, json } = invocation.settings
  if (trace === '') throw new MooncakeError('ERR_CONFIG', '--trace: expected the path of a JSON-lines trace')
  const capacities = capacitiesOf(String(capacity))
  const requests: BlockIds[] = []
  for await (const { blockIds } of readTrace(String(trace))) requests.push(blockIds)
  const factory = EVICTION_POLICIES[String(policy)]!()
  const rows = capacities.map(capacityBlocks => simulate(requests, factory, capacityBlocks))
  const blocks = requests.reduce((sum, { length }) => sum + length, 0)
  process.stdout.write(`${requests.length} requests, ${blocks} blocks; leading hits, % of all blocks\n`)
  process.stdout.write(`${tableOf(factory.name, rows)}\n`)
  if (json !== '') {
    const figures = { trace, policy: factory.name, requests: requests.length, blocks, ratios: rows }
    await writeFile(String(json), `${JSON.stringify(figures, null, 2)}\n`)
  }
  return 0
}

/** @throws ERR_CONFIG */
function capacitiesOf(text: string): number[] {
  return text.split(',').map(part => {
    const blocks = Number(part)
    if (part.trim() !== '' && Number.isSafeInteger(blocks) && blocks > 0) return blocks
    throw new MooncakeError(
      'ERR_CONFIG',
      `--capacity: expected positive whole numbers of blocks with commas between, got ${JSON.stringify(text)}`,
    )
  })
}

function tableOf(policy: string, rows: readonly SimulatedRatios[]): string {
  const table = new Table({
    head: ['capacity', policy, 'lru', 'belady', `${policy} / lru`],
    style: { head: [], border: [] },
    colAligns: ['right', 'right', 'right', 'right', 'right'],
    chars: { mid: '', 'left-mid': '', 'mid-mid': '', 'right-mid': '' },
  })
  const percent = (ratio: number): string => (100 * ratio).toFixed(2)
  for (const row of rows) {
    const gain = row.lru === 0 ? '-' : (row.policy / row.lru).toFixed(2)
    table.push([String(row.capacityBlocks), percent(row.policy), percent(row.lru), percent(row.belady), gain])
  }
  return table.toString()
}
