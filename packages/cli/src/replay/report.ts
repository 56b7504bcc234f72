import { writeFile } from 'node:fs/promises'
import { SingleBar } from 'cli-progress'
import Table from 'cli-table3'
import { formatBytes } from '@mooncake-ts/core'
import type { ReplayCounts } from './driver.js'

/** No line between rows. */
const COMPACT = { mid: '', 'left-mid': '', 'mid-mid': '', 'right-mid': '' }

export interface ReplayResult {
  readonly counts: ReplayCounts
  readonly seconds: number
  /** What was replayed, and through what: for the table and the JSON file. */
  readonly setting: Readonly<Record<string, string | number>>
  /** Of all data nodes, where they have several tiers and could be asked. */
  readonly readsByTier?: Readonly<Record<string, number>>
}

export interface ProgressView {
  update(counts: Readonly<ReplayCounts>): void
  stop(): void
}

/** A bar with throughput and hit ratio; plain lines where there is no terminal. */
export function showProgress(total: number, nowMs: () => number): ProgressView {
  const startedMs = nowMs()
  const bar = new SingleBar({
    format:
      '{bar} {value}/{total} requests | {rate} | hit ratio {hitRatio} | {mismatches} mismatches | {eta_formatted} left',
    stream: process.stderr,
    noTTYOutput: true,
    notTTYSchedule: 5000,
    fps: 5,
    hideCursor: true,
  })
  bar.start(total, 0, { rate: '-', hitRatio: '-', mismatches: 0 })
  return {
    update: counts => {
      const seconds = (nowMs() - startedMs) / 1000
      const rate = `${formatBytes(Math.round((counts.bytesRead + counts.bytesPut) / seconds))}/s`
      bar.update(counts.requests, {
        rate,
        hitRatio: hitRatio(counts).toFixed(3),
        mismatches: counts.mismatches,
      })
    },
    stop: () => {
      bar.stop()
    },
  }
}

/** Prints the summary; the last line is for programs. Gives the exit code. */
export async function report(result: ReplayResult, jsonPath: string): Promise<number> {
  const { counts, seconds, setting } = result
  const rate = (bytes: number): string =>
    `${formatBytes(bytes)} (${formatBytes(Math.round(bytes / seconds))}/s)`
  const table = new Table({ chars: COMPACT, head: ['replay', ''], style: { head: [], border: [] } })
  table.push(
    ...Object.entries(setting).map(([name, value]) => [name, String(value)]),
    [
      'requests',
      `${counts.requests} in ${seconds.toFixed(1)} s (${(counts.requests / seconds).toFixed(1)}/s)`,
    ],
    ['blocks', `${counts.blocks}, of which ${counts.hits} leading hits`],
    ['read and verified', rate(counts.bytesRead)],
    ...tierRows(result.readsByTier ?? {}),
    ['put', rate(counts.bytesPut)],
    ['evicted between exists and get', String(counts.lost)],
    ['failed gets and puts', String(counts.failed)],
  )
  process.stdout.write(`${table.toString()}\n`)
  for (const failure of counts.failures) process.stdout.write(`  ${failure}\n`)
  if (jsonPath !== '') await writeFile(jsonPath, `${JSON.stringify(toJson(result), null, 2)}\n`)
  const good = counts.mismatches === 0 && counts.failed === 0
  const verdict = good ? 'OK' : 'FAILED'
  process.stdout.write(
    `${verdict} replayed ${counts.requests} requests, ${counts.blocks} blocks, hit ratio ${hitRatio(counts).toFixed(4)}, ` +
      `${counts.bytesVerified} bytes verified, ${counts.mismatches} mismatches\n`,
  )
  return good ? 0 : 1
}

/** Fastest first, as far as their names tell: by the place in the configuration. */
function tierRows(readsByTier: Readonly<Record<string, number>>): string[][] {
  const entries = Object.entries(readsByTier)
  const total = entries.reduce((sum, [, reads]) => sum + reads, 0)
  return entries.map(([tier, reads]) => [
    `reads from ${tier}`,
    `${reads} (${((100 * reads) / total).toFixed(1)} %)`,
  ])
}

function hitRatio({ hits, blocks }: Readonly<ReplayCounts>): number {
  return blocks === 0 ? 0 : hits / blocks
}

function toJson({ counts, seconds, setting, readsByTier }: ReplayResult): object {
  return { ...counts, seconds, hitRatio: hitRatio(counts), setting, readsByTier }
}
