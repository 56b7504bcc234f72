import { expect } from 'chai'
import { Observable } from 'rxjs'
import {
  MooncakeError,
  type CopyPool,
  type Region,
  type RemoteWindow,
  type TransferOp,
  type Transport,
} from '@mooncake-ts/core'
import { sliceOf, wrapBuffer } from '@mooncake-ts/memory'
import { rejectsWith, until, VirtualClock } from '@mooncake-ts/testkit'
import { PeerReads, type ReadOutcome } from '../../dist/engine/peer-reads.js'
import { Neighbours } from '../../dist/near/neighbours.js'
import { PlaceTable, placeTableBytes, slotsFor } from '../../dist/near/place-table.js'
import { BEAT_MS } from '../../dist/near/places.js'
import type { PeerClient } from '../../dist/peers/peer-client.js'
import type { TransferSubmitter } from '../../dist/transfer/submitter.js'

const SLOTS = slotsFor(64)
const MEMORY_BYTES = 1000

/** A neighbour in this process, whose table and memory the test holds. */
class Owner {
  readonly tableBytes = new Uint8Array(new ArrayBuffer(placeTableBytes(SLOTS)))
  readonly table = new PlaceTable(this.tableBytes)
  readonly memory = Buffer.from(Array.from({ length: MEMORY_BYTES }, (_, i) => i % 251))
  /** In the middle of a copy. */
  onCopied: () => void = () => {}
  fault: MooncakeError | undefined
  valid = true
  opened = 0
  hasTable = true
  isFar = false
  sampled = 0
  regionCount = 1
  readonly uses: string[][] = []

  readonly peer = {
    endpoint: 'owner:1',
    openPlaces: async ({ isNeighbour }: { isNeighbour: boolean }) => {
      if (!isNeighbour && !this.hasTable) {
        this.sampled++
        return { table: { windows: [windowOf('sample')] }, regions: [] }
      }
      this.opened++
      const regions = Array.from({ length: this.regionCount }, () => ({ windows: [windowOf('memory')] }))
      const table = { windows: [windowOf('table')] }
      return await Promise.resolve({ table, tableBytes: this.tableBytes.byteLength, regions })
    },
    countUses: async (keys: string[]) => {
      this.uses.push(keys)
      await Promise.resolve()
    },
  } as unknown as PeerClient

  readonly transport = {
    scheme: 'shm',
    reaches: () => !this.isFar,
    view: async ({ window }: { window: RemoteWindow }) => {
      const isValid = (): boolean => this.valid
      const bytes = window.endpoint === 'table' ? this.tableBytes : this.memory
      return await Promise.resolve({
        bytes,
        get valid() {
          return isValid()
        },
      })
    },
    execute: (batch: readonly TransferOp[], { signal }: { signal: AbortSignal }) =>
      new Observable(subscriber => {
        if (signal.aborted) subscriber.error(signal.reason)
        batch.forEach(({ local, remote }, index) => {
          const { byteLength } = local
          local.region
            .view(local.offset, byteLength)
            .set(this.memory.subarray(remote.offset, remote.offset + byteLength))
          this.onCopied()
          if (this.fault == null) subscriber.next({ index, bytes: byteLength })
          else subscriber.next({ index, bytes: 0, error: this.fault })
        })
        subscriber.complete()
      }),
  } as unknown as Transport
}

function windowOf(endpoint: string): RemoteWindow {
  return { scheme: 'shm', endpoint, key: new Uint8Array(0) }
}

/** Of a process that is stopped for a while: its timers are late. */
class StallingClock extends VirtualClock {
  stoodStillMs = 0

  override nowMs(): number {
    return super.nowMs() + this.stoodStillMs
  }
}

describe('Neighbours', () => {
  const never = new AbortController().signal
  const into = Buffer.alloc(300)
  let region: Region
  let clock: StallingClock
  let owner: Owner
  let neighbours: Neighbours

  const read = (
    keys: string[],
    byteLength = 100,
    signal = never,
  ): Promise<Array<ReadOutcome | undefined> | undefined> => {
    const tasks = keys.map((key, i) => ({ key, target: sliceOf(region, 100 * i, byteLength) }))
    return neighbours.at(owner.peer)!.read(tasks, signal)
  }

  const opened = async (): Promise<void> => {
    await until(() => neighbours.at(owner.peer) != null)
  }

  before(() => {
    region = wrapBuffer(into)
  })
  beforeEach(async () => {
    into.fill(0)
    clock = new StallingClock()
    owner = new Owner()
    neighbours = new Neighbours(clock, [owner.transport])
    owner.table.publish({ key: 'a', generation: 1, byteLength: 40, checksum: 5 }, 0, 10)
    expect(neighbours.at(owner.peer)).to.equal(undefined)
    await opened()
  })
  afterEach(() => {
    neighbours.close()
  })
  after(() => {
    region.close()
  })

  it('are copied from without being asked, and say what they do not have', async () => {
    expect(await read(['b', 'a'])).to.deep.equal([undefined, { byteLength: 40, checksum: 5 }])
    expect(into.subarray(100, 140).equals(owner.memory.subarray(10, 50))).to.equal(true)
    expect(into[140]).to.equal(0)
    expect(await read(['b'])).to.equal(undefined)
    expect(await read(['a'], 39)).to.equal(undefined) // Too large: the owner says so.
  })

  it('are not believed where an object went while it was copied, and no byte of it stays', async () => {
    owner.onCopied = () => {
      owner.table.withdraw('a', 1)
    }
    const outcomes = await read(['a'])
    expect(outcomes).to.deep.equal([undefined])
    expect(
      outcomes!.map(outcome => outcome == null),
      'no hole',
    ).to.deep.equal([true])
    expect(into.every(byte => byte === 0)).to.equal(true)
  })

  it('end with the reason of an abort', async () => {
    const reason = new MooncakeError('ERR_RPC_TIMEOUT')
    await rejectsWith(read(['a'], 100, AbortSignal.abort(reason)), 'ERR_RPC_TIMEOUT')
  })

  it('are opened anew when a read fails, when they stop, and when they have memory that is new', async () => {
    owner.fault = new MooncakeError('ERR_TRANSFER_FAIL')
    expect(await read(['a'])).to.deep.equal([undefined])
    owner.fault = undefined
    await opened()
    expect(owner.opened).to.equal(2)
    owner.valid = false
    expect(neighbours.at(owner.peer)).to.equal(undefined)
    owner.valid = true
    await opened()
    owner.table.publish({ key: 'c', generation: 1, byteLength: 1 }, 1, 0)
    expect(await read(['c'])).to.equal(undefined)
    owner.regionCount = 2
    await opened()
    expect(await read(['c'])).to.deep.equal([{ byteLength: 1 }])
    expect(owner.opened).to.equal(4)
  })

  it('are asked in the ordinary way while their event loop stands still', async () => {
    const isThere = (): boolean => neighbours.at(owner.peer) != null
    for (let beats = 0; beats < 5; beats++) {
      owner.table.beatOnce()
      await clock.advance(BEAT_MS)
      expect(isThere()).to.equal(true)
    }
    await clock.advance(2 * BEAT_MS)
    expect(isThere()).to.equal(true)
    await clock.advance(BEAT_MS)
    expect(isThere()).to.equal(false)
    owner.table.beatOnce()
    await clock.advance(BEAT_MS)
    expect(isThere()).to.equal(true)
    expect(owner.opened).to.equal(1)
  })

  it('are believed for less long where the directory soon takes a silent node for gone', async () => {
    neighbours.close()
    neighbours = new Neighbours(clock, [owner.transport], { silenceMsMax: 5 * BEAT_MS })
    await opened()
    await clock.advance(2 * BEAT_MS)
    expect(neighbours.at(owner.peer)).not.to.equal(undefined)
    await clock.advance(BEAT_MS)
    expect(neighbours.at(owner.peer)).to.equal(undefined)
  })

  it('are not believed for what they did while this process stood still', async () => {
    for (let beats = 0; beats < 3; beats++) owner.table.beatOnce()
    clock.stoodStillMs = 9 * BEAT_MS
    await clock.advance(BEAT_MS)
    expect(neighbours.at(owner.peer)).to.equal(undefined)
    await clock.advance(BEAT_MS)
    expect(neighbours.at(owner.peer)).to.equal(undefined)
    owner.table.beatOnce()
    await clock.advance(BEAT_MS)
    expect(neighbours.at(owner.peer)).not.to.equal(undefined)
    expect(owner.opened).to.equal(1)
  })

  it('are opened anew after a long silence: nobody has read from the one that died', async () => {
    owner.valid = true // What a process exposed when it was killed stays so.
    await clock.advance(20 * BEAT_MS)
    await opened()
    expect(owner.opened).to.equal(2)
    expect(await read(['a'])).to.deep.equal([{ byteLength: 40, checksum: 5 }])
  })

  it('are forgotten when nobody reads from them, for they keep memory mapped', async () => {
    for (let beats = 0; beats < 70; beats++) {
      owner.table.beatOnce()
      await clock.advance(BEAT_MS)
    }
    expect(neighbours.at(owner.peer)).to.equal(undefined)
    await opened()
    expect(owner.opened).to.equal(2)
  })

  it('are not to blame for what is wrong here', async () => {
    owner.fault = new MooncakeError('ERR_REGION_CLOSED')
    expect(await read(['a'])).to.deep.equal([undefined])
    owner.fault = new MooncakeError('ERR_OVERLOADED')
    expect(await read(['a'])).to.deep.equal([undefined])
    owner.fault = undefined
    expect(await read(['a'])).to.deep.equal([{ byteLength: 40, checksum: 5 }])
    expect(owner.opened).to.equal(1)
  })

  it('give what was copied, also where they do not answer for the rest', async () => {
    const reads = new PeerReads({
      transports: [],
      submitter: undefined as unknown as TransferSubmitter,
      neighbours,
      clock,
      copyPool: undefined as unknown as CopyPool,
      direction: 'reverse',
      inlineBytesMax: 1000,
    })
    const error = new MooncakeError('ERR_RPC_TIMEOUT')
    const peer = { ...owner.peer, readInline: () => Promise.reject(error) } as unknown as PeerClient
    const tasks = ['b', 'a'].map((key, i) => ({ key, target: sliceOf(region, 100 * i, 100) }))
    expect(await reads.read(peer, tasks, 200, { signal: never, deadlineMs: 100 })).to.deep.equal({
      outcomes: [
        { byteLength: 0, error },
        { byteLength: 40, checksum: 5 },
      ],
      asked: [0],
      error,
    })
  })

  it('have a table made for them where there is none, which nobody has who is on another host', async () => {
    neighbours.close()
    owner.hasTable = false
    neighbours = new Neighbours(clock, [owner.transport])
    await opened()
    expect([owner.sampled, owner.opened]).to.deep.equal([1, 2])
    neighbours.close()
    owner.isFar = true
    neighbours = new Neighbours(clock, [owner.transport])
    expect(neighbours.at(owner.peer)).to.equal(undefined)
    await until(() => owner.sampled === 2)
    await clock.advance(BEAT_MS)
    expect(neighbours.at(owner.peer)).to.equal(undefined)
    expect([owner.sampled, owner.opened]).to.deep.equal([2, 2])
  })

  it('hear in time what was read', async () => {
    await read(['a', 'a'])
    await read(['b', 'a'])
    expect(owner.uses).to.deep.equal([])
    await clock.advance(BEAT_MS)
    await clock.advance(BEAT_MS)
    expect(owner.uses).to.deep.equal([['a', 'a', 'a']])
  })
})
