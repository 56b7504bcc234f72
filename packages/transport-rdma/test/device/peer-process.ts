/**
 * A peer of its own: exposes a region, tells where, moves what it is told to, and lives until it is killed or its
 * parent is gone.
 */
import { batchOf, bytesOf, codes, expose, regionOf, run, startNode } from './support.js'
import type { PeerOrder, PeerReport, PlainWindow } from './peer-orders.js'

const [device, byteLength] = process.argv.slice(2) as [string, string]
const { transport } = await startNode({ deviceNames: [device] })
const region = regionOf(Number(byteLength))
const { window } = expose(transport, region)

async function carryOut({ kind, window, pieceBytes, times }: PeerOrder): Promise<PeerReport> {
  const remote = { ...window, key: Uint8Array.from(window.key) }
  const completions = []
  for (let time = 0; time < times; time++) {
    bytesOf(region).fill(time)
    completions.push(...(await run(transport, batchOf(kind, region, remote, pieceBytes))))
  }
  const message = completions.find(({ error }) => error != null)?.error?.message
  return { codes: codes(completions), ...(message == null ? {} : { message }) }
}

process.on('message', (order: PeerOrder) => {
  void carryOut(order).then(report => process.send!(report))
})
process.on('disconnect', () => process.exit(0))
const plain: PlainWindow = { ...window, key: [...window.key] }
process.send!(plain)
