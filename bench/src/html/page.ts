import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { describeTarget, format, type Report } from '../harness/report.js'
import type { Result, Spread } from '../harness/result.js'
import { ratioChart, valueChart, type Chart } from './charts.js'

/** One file that needs no network: the chart library is in it. */
export function writeHtml(path: string, report: Report): void {
  writeFileSync(path, pageOf(report))
}

function pageOf(report: Report): string {
  const charts: Chart[] = []
  const suites = groupBy(report.results, result => result.name.split('/')[0]!)
  const sections = [...suites].map(([suite, results]) => section(suite, results, charts))
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>mooncake-ts bench ${escape(report.commit)}</title>
<style>${STYLE}</style>
</head>
<body>
<h1>mooncake-ts: a measured run</h1>
<p>Commit ${escape(report.commit)}, ${escape(report.date)}. ${escape(report.machine)}.
${report.rounds} rounds after ${report.warmUpMs} ms of warming up; in each, every contender was measured once for
${report.durationMs} ms, in turning order. Figures are medians over the rounds, with the smallest and the largest;
the ceiling is the best of several ways to do the same without a store.</p>
${absences(report)}
${targets(report.results)}
${sections.join('\n')}
<script>${inScript(chartLibrary())}</script>
<script>
const configs = ${inScript(JSON.stringify(charts.map(chart => chart.config)))}
Chart.defaults.font.family = 'system-ui, sans-serif'
const charts = configs.map((config, index) => new Chart('chart' + index, config))
addEventListener('beforeprint', () => { for (const chart of charts) chart.resize(680, chart.height) })
addEventListener('afterprint', () => { for (const chart of charts) chart.resize() })
</script>
</body>
</html>
`
}

const STYLE = `
body { font: 15px/1.45 system-ui, sans-serif; color: #1d2429; max-width: 1100px; margin: 2em auto; padding: 0 1em }
h2 { margin-top: 2em; border-bottom: 2px solid #14507d }
table { border-collapse: collapse; width: 100%; font-size: 12.5px; margin: 1em 0 }
th, td { padding: 3px 8px; border-bottom: 1px solid #d5dade; text-align: left; vertical-align: top }
th { background: #eef1f3 }
th.number, td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.met { color: #2c6e2f; font-weight: 600 }
.missed { color: #a3231a; font-weight: 600 }
.chart { position: relative; margin: 1em 0; break-inside: avoid }
tr { break-inside: avoid }
@media print { body { margin: 0; max-width: none; font-size: 11px } table { font-size: 9.5px } }
`

function absences({ absent }: Report): string {
  const rows = Object.entries(absent).map(([name, why]) => `<li><b>${escape(name)}</b>: ${escape(why)}</li>`)
  return rows.length === 0 ? '' : `<h2>Absent from this run</h2>\n<ul>${rows.join('')}</ul>`
}

function targets(results: readonly Result[]): string {
  const rows = results.flatMap(result =>
    (result.targets ?? []).map(target => {
      const mark = target.met ? '<td class="met">✓ met</td>' : '<td class="missed">✗ missed</td>'
      const words = describeTarget(target).replace(/^\w+: /, '')
      return `<tr>${mark}<td>${escape(result.name)}</td><td>${escape(words)}</td></tr>`
    }),
  )
  if (rows.length === 0) return ''
  return `<h2>Targets</h2>
<table><tr><th></th><th>figure</th><th>reached, and what is asked</th></tr>${rows.join('\n')}</table>`
}

const TEXT_HEADS = new Set(['figure', 'unit'])

/** Its charts are appended to `charts`. */
function section(suite: string, results: readonly Result[], charts: Chart[]): string {
  const own = [...groupBy(results, result => result.unit)].map(([unit, same]) => valueChart(unit, same))
  const ratios = ratioChart(results)
  if (ratios != null) own.unshift(ratios)
  const drawn = own.map(chart => {
    const id = `chart${charts.push(chart) - 1}`
    const canvas = `<canvas id="${id}" role="img" aria-label="${escape(chart.title)}"></canvas>`
    return `<div class="chart" style="height:${chart.heightPx}px">${canvas}</div>`
  })
  return `<h2>${escape(suite)}</h2>\n${drawn.join('\n')}\n${tableOf(results)}`
}

function tableOf(results: readonly Result[]): string {
  const rows = results.flatMap(result => {
    const { name, value, unit, better, spread, p50Us, p99Us } = result
    const over = (median: number): string => format(better === 'more' ? value / median : median / value)
    const others = [...Object.entries(result.ceilings ?? {}), ...Object.entries(result.rivalSpreads ?? {})]
    return [
      row(`<b>${escape(name)}</b>`, spread, [escape(unit), '', format(p50Us), format(p99Us)]),
      ...others.map(([other, figures]) =>
        row(`&emsp;${escape(other)}`, figures, ['', over(figures.median), '', '']),
      ),
    ]
  })
  const heads = ['figure', 'median', 'min … max', 'unit', 'ours over it', 'p50 µs', 'p99 µs']
  const head = heads.map(text => `<th${TEXT_HEADS.has(text) ? '' : ' class="number"'}>${text}</th>`).join('')
  return `<table><tr>${head}</tr>${rows.join('\n')}</table>`
}

function row(
  name: string,
  { median, min, max }: Spread,
  [unit, ...numbers]: readonly [string, string, string, string],
): string {
  const figures = [format(median), `${format(min)} … ${format(max)}`]
  const cell = (text: string): string => `<td class="number">${text}</td>`
  return `<tr><td>${name}</td>${figures.map(cell).join('')}<td>${unit}</td>${numbers.map(cell).join('')}</tr>`
}

function chartLibrary(): string {
  const entry = createRequire(import.meta.url).resolve('chart.js')
  return readFileSync(join(dirname(entry), 'chart.umd.min.js'), 'utf8').replace(/^\/\/# sourceMap.*$/m, '')
}

/** In the order in which the groups appear. */
function groupBy(results: readonly Result[], group: (result: Result) => string): Map<string, Result[]> {
  const groups = new Map<string, Result[]>()
  for (const result of results) groups.set(group(result), [...(groups.get(group(result)) ?? []), result])
  return groups
}

/** So that no text can end the script that it stands in. */
function inScript(text: string): string {
  return text.replaceAll('</', '<\\/')
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
}
