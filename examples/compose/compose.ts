/**
 * A cluster composed in code, in one process: a directory, two nodes with memory, and a program that only
 * uses them. In a real deployment each of them is a process of its own; nothing else changes.
 */
import { mib } from '@mooncake-ts/core'
import { createMaster, masterClient } from '@mooncake-ts/master'
import { rpc } from '@mooncake-ts/rpc'
import { createStore } from '@mooncake-ts/store'
import { dram } from '@mooncake-ts/tier-dram'
import { tcp } from '@mooncake-ts/transport-tcp'

await using master = await createMaster({ rpc: rpc({ listen: ['127.0.0.1:0'] }), metricsPort: 0 })

function node(name: string) {
  return createStore({
    name,
    master: masterClient({ endpoints: [master.rpcEndpoint] }),
    transports: [tcp()], // preferred first
    tiers: [dram({ capacityBytes: mib(256) })], // fast to slow
  })
}
await using prefill = await node('prefill-0')
await using decode = await node('decode-0')

// One KV block per layer, straight out of a region that was registered once.
const layers = Array.from({ length: 8 }, (_, layer) => `request-7/layer-${layer}`)
const region = prefill.createRegion(mib(8))
const slices = layers.map((_, layer) => ({ region, offset: layer * mib(1), byteLength: mib(1) }))
slices.forEach((slice, layer) => region.view(slice.offset, slice.byteLength).fill(layer))
await prefill.putMany(layers.map((key, layer) => ({ key, value: slices[layer]! }))).done

// The other node reads them; each layer can be used as soon as it is there.
const target = decode.createRegion(mib(8))
const into = slices.map(({ offset, byteLength }) => ({ region: target, offset, byteLength }))
const transfer = decode.getMany(layers, { into })
transfer.completions$.subscribe(({ index, bytes }) => {
  console.log(`layer ${index} is ready: ${bytes} bytes of ${target.view(into[index]!.offset, 1)[0]}`)
})
const { completed, bytes } = await transfer.done
console.log(`${completed} layers, ${bytes} bytes`)

region.close()
target.close()
