import type { ChartConfiguration } from 'chart.js'
import type { Result } from '../harness/result.js'

/** Ours, the ceiling, then rivals in the order in which they appear: far apart in grey print, too. */
const OURS_COLOR = '#14507d'
const CEILING_COLOR = '#b9c2c9'
const RIVAL_COLORS = ['#d9822b', '#6a994e', '#a23b72', '#8d6a9f', '#c9a227'] as const

const OURS = 'ours'
const CEILING = 'ceiling'
const ROW_PX = 17
const GROUP_PX = 16
const FRAME_PX = 90

export interface Chart {
  readonly title: string
  readonly heightPx: number
  readonly config: ChartConfiguration<'bar', Array<number | null>>
}

/** Figures of one unit side by side; a logarithmic axis, because sizes are far apart. */
export function valueChart(unit: string, results: readonly Result[]): Chart {
  const rivals = rivalNames(results)
  const ceilings = results.some(result => result.ceiling != null)
  const series = [
    bars(
      OURS,
      OURS_COLOR,
      results.map(result => result.value),
    ),
    ...(ceilings
      ? [
          bars(
            CEILING,
            CEILING_COLOR,
            results.map(result => result.ceiling ?? null),
          ),
        ]
      : []),
    ...rivals.map((rival, index) =>
      bars(
        rival,
        rivalColor(index),
        results.map(result => result.rivals?.[rival] ?? null),
      ),
    ),
  ]
  return chartOf(`Medians, ${unit}`, results, series)
}

/** How many times as good as the ceiling and as each rival: beyond the line at 1 is better. */
export function ratioChart(results: readonly Result[]): Chart | undefined {
  const compared = results.filter(result => result.ratio != null || result.rivals != null)
  if (compared.length === 0) return undefined
  const over = (result: Result, rival: string): number | null => {
    const other = result.rivals?.[rival]
    if (other == null) return null
    return result.better === 'more' ? result.value / other : other / result.value
  }
  const series = [
    bars(
      'over the ceiling',
      CEILING_COLOR,
      compared.map(result => result.ratio ?? null),
    ),
    ...rivalNames(compared).map((rival, index) =>
      bars(
        `over ${rival}`,
        rivalColor(index),
        compared.map(result => over(result, rival)),
      ),
    ),
  ]
  return chartOf('Ours over …: right of 1 is better', compared, series, true)
}

interface Series {
  readonly label: string
  readonly data: Array<number | null>
  readonly backgroundColor: string
  /** Bars of ratios begin at 1. */
  base?: number
}

function bars(label: string, backgroundColor: string, data: Array<number | null>): Series {
  return { label, backgroundColor, data }
}

function chartOf(title: string, results: readonly Result[], series: Series[], fromOne = false): Chart {
  if (fromOne) for (const one of series) one.base = 1
  return {
    title,
    heightPx: results.length * (series.length * ROW_PX + GROUP_PX) + FRAME_PX,
    config: {
      type: 'bar',
      data: { labels: results.map(result => result.name), datasets: series },
      options: {
        indexAxis: 'y',
        animation: false,
        maintainAspectRatio: false,
        plugins: { legend: { position: 'top' }, title: { display: true, text: title } },
        scales: { x: { type: 'logarithmic' }, y: { ticks: { autoSkip: false } } },
      },
    },
  }
}

function rivalNames(results: readonly Result[]): string[] {
  return [...new Set(results.flatMap(result => Object.keys(result.rivals ?? {})))]
}

function rivalColor(index: number): string {
  return RIVAL_COLORS[index % RIVAL_COLORS.length]!
}
