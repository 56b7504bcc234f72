import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import Table from 'cli-table3'
import { formatBytes } from '@mooncake-ts/core'
import type { Result } from './result.js'

export function printTable(results: readonly Result[]): void {
  const table = new Table({
    head: ['figure', 'value', 'unit', 'p50 µs', 'p99 µs', 'ceiling', 'ratio', 'rivals'],
    style: { head: [], border: [] },
    colAligns: ['left', 'right', 'left', 'right', 'right', 'right', 'right', 'left'],
  })
  for (const { name, value, unit, p50Us, p99Us, ceiling, ratio, rivals } of results) {
    const others = Object.entries(rivals ?? {}).map(([rival, figure]) => `${rival} ${format(figure)}`)
    table.push([
      name,
      format(value),
      unit,
      format(p50Us),
      format(p99Us),
      format(ceiling),
      format(ratio),
      others.join(', '),
    ])
  }
  process.stdout.write(`${table.toString()}\n`)
}

export function writeJson(path: string, results: readonly Result[]): void {
  writeFileSync(path, `${JSON.stringify({ commit: commit(), machine: machine(), results }, null, 2)}\n`)
}

function format(value: number | undefined): string {
  if (value == null) return ''
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en-US')
  return value.toPrecision(3)
}

function commit(): string {
  try {
    return execFileSync('git', ['describe', '--always', '--dirty'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim()
  } catch {
    return 'unknown'
  }
}

function machine(): string {
  const [cpu] = cpus()
  return `${cpus().length} × ${cpu?.model.trim() ?? 'unknown CPU'}, ${formatBytes(totalmem())}, Linux ${release()}, Node ${process.versions.node}`
}
