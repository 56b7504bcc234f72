/** A transport in a process of its own, which does what its parent says. */
import { fileURLToPath } from 'node:url'
import { lastValueFrom, toArray } from 'rxjs'
import { silentLogger, noMetrics, systemClock, type Access, type RemoteWindow } from '@mooncake-ts/core'
import { createRegion, type HostRegion } from '@mooncake-ts/memory'
import type { ShmOptions } from '../dist/options.js'
import { ShmTransport } from '../dist/transport.js'

export interface PlainWindow {
  readonly scheme: string
  readonly endpoint: string
  readonly key: readonly number[]
}

export type Order =
  | { readonly type: 'expose'; readonly byteLength: number; readonly fill: number; readonly access: Access }
  | {
      readonly type: 'move'
      readonly kind: 'read' | 'write'
      readonly window: PlainWindow
      readonly byteLength: number
      readonly fill: number
      /** Over and over until one fails; the answer comes before the first. */
      readonly endless?: boolean
    }

export interface Report {
  readonly window?: PlainWindow
  readonly codes?: readonly string[]
  /** Different bytes that successful reads have seen. */
  readonly seen?: readonly number[]
}

async function main(options: ShmOptions & { readonly secret?: string }): Promise<void> {
  const { secret, ...rest } = options
  const security = { allowInsecure: false, ...(secret == null ? {} : { secret }) }
  const transport = new ShmTransport(rest, {
    clock: systemClock,
    logger: silentLogger,
    metrics: noMetrics,
    security,
  })
  await transport.start()
  process.on('message', (order: Order) => {
    void obey(transport, order)
  })
  process.on('disconnect', () => process.exit())
}

async function obey(transport: ShmTransport, order: Order): Promise<void> {
  const region = createRegion({ byteLength: order.byteLength })
  region.view(0, order.byteLength).fill(order.fill)
  if (order.type === 'expose') {
    const { byteLength, access } = order
    const { scheme, endpoint, key } = transport.expose(region, { offset: 0, byteLength, access }).window
    tell({ window: { scheme, endpoint, key: [...key] } })
    return
  }
  if (order.endless !== true) {
    tell(await move(transport, region, order))
    return
  }
  tell({})
  let report: Report
  do report = await move(transport, region, order)
  while (report.codes?.[0] === 'OK')
}

async function move(
  transport: ShmTransport,
  region: HostRegion,
  { kind, window, byteLength }: Extract<Order, { type: 'move' }>,
): Promise<Report> {
  const remote: RemoteWindow = { ...window, key: Uint8Array.from(window.key) }
  const op = {
    kind,
    local: { region, offset: 0, byteLength },
    remote: { window: remote, offset: 0, byteLength },
  }
  const { signal } = new AbortController()
  const completions = await lastValueFrom(transport.execute([op], { signal }).pipe(toArray()))
  const codes = completions.map(({ error }) =>
    error == null ? 'OK' : (error as Error & { code: string }).code,
  )
  return { codes, seen: kind === 'read' ? [...new Set(region.view(0, byteLength))] : [] }
}

function tell(report: Report): void {
  process.send!(report)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  void main(JSON.parse(process.argv[2]!) as ShmOptions & { readonly secret?: string })
}
