/** A thread that puts one object after another in its table and takes it out again; for a test of who sees what. */
import { isMainThread, parentPort, workerData } from 'node:worker_threads'
import { PinReader } from '../../dist/near/pin-table.js'
import { PlaceTable } from '../../dist/near/place-table.js'

export interface RaceMemory {
  readonly places: SharedArrayBuffer
  readonly pins: SharedArrayBuffer
  /** By epoch: 1 where the owner saw that it has to keep the object. */
  readonly kept: SharedArrayBuffer
}

function main({ places, pins, kept }: RaceMemory): void {
  const pinned = new PinReader(new Uint8Array(pins))
  const keptEpochs = new Int32Array(kept)
  const table = new PlaceTable(new Uint8Array(places), (_slot, epoch) => {
    if (pinned.has(epoch)) Atomics.store(keptEpochs, epoch, 1)
  })
  for (let generation = 1; generation < keptEpochs.length; generation++) {
    table.publish({ key: 'k', generation, byteLength: 1 }, 0, 0)
    for (let i = generation % 64; i > 0; i--) Atomics.load(keptEpochs, 0) // Not always at the same moment.
    table.withdraw('k', generation)
  }
  Atomics.store(keptEpochs, 0, 1)
}

if (!isMainThread && parentPort != null) main(workerData as RaceMemory)
