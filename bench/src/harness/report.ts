import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import Table from 'cli-table3'
import { formatBytes } from '@mooncake-ts/core'
import type { Result, TargetOutcome } from './result.js'

/** No line between rows. */
const COMPACT = { mid: '', 'left-mid': '', 'mid-mid': '', 'right-mid': '' }

/** What the JSON file has. */
export interface Report {
  readonly commit: string
  readonly machine: string
  readonly date: string
  readonly rounds: number
  readonly durationMs: number
  readonly warmUpMs: number
  /** Rivals and suites that did not run, and why. */
  readonly absent: Readonly<Record<string, string>>
  readonly results: readonly Result[]
}

export function printTable({ results, absent }: Report): void {
  const table = new Table({
    head: [
      'figure',
      'median',
      'min … max',
      'unit',
      'p50 µs',
      'p99 µs',
      'ceiling',
      'ratio',
      'rivals',
      'target',
    ],
    style: { head: [], border: [] },
    chars: COMPACT,
    colAligns: ['left', 'right', 'right', 'left', 'right', 'right', 'right', 'right', 'left', 'left'],
  })
  for (const result of results) {
    const { name, value, unit, spread, p50Us, p99Us, ceiling, ratio, rivals, targets } = result
    const others = Object.entries(rivals ?? {}).map(([rival, figure]) => `${rival} ${format(figure)}`)
    table.push([
      name,
      format(value),
      `${format(spread.min)} … ${format(spread.max)}`,
      unit,
      format(p50Us),
      format(p99Us),
      format(ceiling),
      format(ratio),
      others.join('\n'),
      (targets ?? []).map(describeTarget).join('\n'),
    ])
  }
  process.stdout.write(`${table.toString()}\n`)
  for (const [name, why] of Object.entries(absent)) process.stdout.write(`${name} is absent: ${why}\n`)
}

/** `missed: 0.52 of 0.9 × ceiling` */
export function describeTarget({ over, atLeast, atMost, actual, met }: TargetOutcome): string {
  const limit = atLeast == null ? `≤ ${format(atMost)}` : `≥ ${format(atLeast)}`
  const against = over == null ? '' : ` × ${over}`
  return `${met ? 'met' : 'MISSED'}: ${format(actual)}, ${limit}${against}`
}

export function writeJson(path: string, report: Report): void {
  writeFileSync(path, `${JSON.stringify(report, null, 2)}\n`)
}

/** Three digits that count. */
export function format(value: number | undefined): string {
  if (value == null) return ''
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en-US')
  return value.toPrecision(3)
}

export function describeRun(): Pick<Report, 'commit' | 'machine' | 'date'> {
  return { commit: commit(), machine: machine(), date: new Date().toISOString() }
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
