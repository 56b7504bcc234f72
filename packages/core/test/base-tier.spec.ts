import { expect } from 'chai'
import { lastValueFrom, toArray } from 'rxjs'
import {
  BaseTier,
  errorCode,
  type BaseTierInit,
  type Region,
  type Slice,
  type Tier,
  type TierAllocation,
  type TierReadOp,
  type TierWriteOp,
} from '@mooncake-ts/core'
import { Deferred, failure, turn } from './support.js'

const signal = new AbortController().signal

/** Plain memory, which is all that a tier without an address needs of a Region. */
function sliceOf(bytes: Uint8Array): Slice {
  const region = {
    byteLength: bytes.byteLength,
    closed: false,
    view: (offset: number, byteLength: number) => bytes.subarray(offset, offset + byteLength),
  } as Region
  return { region, offset: 0, byteLength: bytes.byteLength }
}

const bytesOf = (slice: Slice): Uint8Array => slice.region.view(slice.offset, slice.byteLength)

/** The smallest honest tier: objects in a Map. */
class MapTier extends BaseTier {
  readonly objects = new Map<number, Uint8Array>()
  /** Set by tests to hold an operation up. */
  gate: Promise<void> = Promise.resolve()
  deleteError: Error | undefined
  shortBy = 0

  constructor(init: Partial<BaseTierInit> = {}) {
    super({ name: 'map', kind: 'MAP', capacityBytes: 100, ...init })
  }

  protected async _write(id: number, op: TierWriteOp): Promise<number> {
    await this.gate
    this.objects.set(id, bytesOf(op.from).slice())
    return op.from.byteLength - this.shortBy
  }

  protected async _read(id: number, op: TierReadOp): Promise<number> {
    await this.gate
    bytesOf(op.into).set(this.objects.get(id)!.subarray(op.offset, op.offset + op.into.byteLength))
    return op.into.byteLength
  }

  recovered(id: number, byteLength: number): TierAllocation {
    return this.adopt(id, byteLength)
  }

  protected override _delete(id: number): Promise<void> {
    if (this.deleteError != null) throw this.deleteError
    this.objects.delete(id)
    return this.gate
  }
}

function write(tier: Tier, allocation: TierAllocation, bytes: Uint8Array): Promise<unknown> {
  return lastValueFrom(tier.write([{ allocation, from: sliceOf(bytes) }], { signal }).pipe(toArray()))
}

/** The code of the one completion of a write. */
async function writeFault(tier: Tier, allocation: TierAllocation, from: Slice): Promise<string | undefined> {
  const [seen] = await lastValueFrom(tier.write([{ allocation, from }], { signal }).pipe(toArray()))
  return seen!.error == null ? undefined : errorCode(seen!.error)
}

describe('BaseTier', () => {
  it('has the defaults of a slow, forgetful tier', () => {
    const tier = new MapTier()
    expect(tier).to.deep.include({ name: 'map', kind: 'MAP', priority: 10, tags: [], capacityBytes: 100 })
    expect(tier.supports).to.deep.equal({ directMemory: false, persistence: false, partialRead: true })
    expect(new MapTier({ supports: { persistence: true } }).supports.persistence).to.equal(true)
  })

  it('refuses a capacity that is no positive whole number', async () => {
    for (const capacityBytes of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      const error = await failure(() => new MapTier({ capacityBytes }))
      expect(error.code).to.equal('ERR_INVALID_PARAMS')
      expect(error.message).to.include('map: capacityBytes')
    }
  })

  it('gives back what was written, whole and in part', async () => {
    const tier = new MapTier()
    const allocation = tier.allocate(5)!
    await write(tier, allocation, new Uint8Array([1, 2, 3, 4, 5]))
    const into = new Uint8Array(3)
    const seen = await lastValueFrom(
      tier.read([{ allocation, offset: 1, into: sliceOf(into) }], { signal }).pipe(toArray()),
    )
    expect(seen).to.deep.equal([{ index: 0, bytes: 3 }])
    expect([...into]).to.deep.equal([2, 3, 4])
  })

  it('counts to its capacity, and not a byte further', () => {
    const tier = new MapTier()
    expect(tier.allocate(60)).to.include({ byteLength: 60 })
    expect(tier.allocate(41)).to.equal(undefined)
    expect(tier.allocate(40)).to.include({ byteLength: 40 })
    expect(tier.allocate(0)).to.include({ byteLength: 0 })
    expect(tier.usedBytes).to.equal(100)
  })

  it('never gives the same id twice', async () => {
    const tier = new MapTier()
    const first = tier.allocate(10)!
    await tier.free(first)
    expect(tier.allocate(10)!.id).to.not.equal(first.id)
  })

  it('throws for what is not a length', () => {
    for (const byteLength of [-1, 0.5, Number.NaN])
      expect(() => new MapTier().allocate(byteLength)).to.throw(RangeError)
  })

  it('counts freed space as used until it is really gone', async () => {
    const tier = new MapTier()
    const deleting = new Deferred()
    const allocation = tier.allocate(100)!
    tier.gate = deleting.promise
    const freed = tier.free(allocation)
    await turn()
    expect(tier.usedBytes).to.equal(100)
    expect(tier.allocate(1)).to.equal(undefined)
    deleting.resolve()
    await freed
    expect(tier.usedBytes).to.equal(0)
  })

  it('does not lose space when a delete fails, also synchronously', async () => {
    const tier = new MapTier()
    tier.deleteError = new Error('no such file')
    await tier.free(tier.allocate(70)!)
    expect(tier.usedBytes).to.equal(0)
  })

  it('waits in stop for what runs', async () => {
    const tier = new MapTier()
    const writing = new Deferred()
    tier.gate = writing.promise
    const written = write(tier, tier.allocate(1)!, new Uint8Array(1))
    let stopped = false
    const stopping = tier.stop().then(() => (stopped = true))
    await turn()
    expect(stopped).to.equal(false)
    writing.resolve()
    await Promise.all([written, stopping])
    expect(tier.objects.size).to.equal(1)
  })

  it('waits in stop for a delete too', async () => {
    const tier = new MapTier()
    const deleting = new Deferred()
    tier.gate = deleting.promise
    const freed = tier.free(tier.allocate(1)!)
    const order: string[] = []
    const stopping = tier.stop().then(() => order.push('stopped'))
    await turn()
    order.push('deleted')
    deleting.resolve()
    await Promise.all([freed, stopping])
    expect(order).to.deep.equal(['deleted', 'stopped'])
  })

  it('takes no work after stop', async () => {
    const tier = new MapTier()
    const allocation = tier.allocate(1)!
    await tier.stop()
    expect(await writeFault(tier, allocation, sliceOf(new Uint8Array(1)))).to.equal('ERR_SHUTTING_DOWN')
  })

  it('refuses what leaves the object or the region, and what is in a closed region', async () => {
    const tier = new MapTier()
    const allocation = tier.allocate(4)!
    const slice = sliceOf(new Uint8Array(8))
    expect(await writeFault(tier, allocation, slice)).to.equal('ERR_INVALID_PARAMS')
    expect(await writeFault(tier, allocation, { ...slice, offset: 6, byteLength: 4 })).to.equal(
      'ERR_SLICE_OUT_OF_BOUNDS',
    )
    const closed = { ...slice, byteLength: 4, region: { ...slice.region, closed: true } }
    expect(await writeFault(tier, allocation, closed)).to.equal('ERR_REGION_CLOSED')
    const late = [{ allocation, offset: 2, into: { ...slice, byteLength: 3 } }]
    const [seen] = await lastValueFrom(tier.read(late, { signal }).pipe(toArray()))
    expect(seen!.error).to.include({ code: 'ERR_INVALID_PARAMS' })
    expect(tier.objects.size).to.equal(0)
  })

  it('does not pass a part of an object off as the whole', async () => {
    const tier = new MapTier()
    tier.shortBy = 1
    expect(await writeFault(tier, tier.allocate(4)!, sliceOf(new Uint8Array(4)))).to.equal('ERR_IO')
  })

  it('does not bother its hooks with empty objects', async () => {
    const tier = new MapTier()
    expect(await writeFault(tier, tier.allocate(0)!, sliceOf(new Uint8Array(0)))).to.equal(undefined)
    expect(tier.objects.size).to.equal(0)
  })

  it('adopts objects of an earlier life: their space, and their ids', () => {
    const tier = new MapTier()
    expect(tier.recovered(7, 60)).to.deep.equal({ id: 7, byteLength: 60 })
    expect(tier.usedBytes).to.equal(60)
    expect(tier.allocate(41)).to.equal(undefined)
    expect(tier.allocate(1)!.id).to.equal(8)
  })

  it('runs as many operations at a time as it was told', async () => {
    let most = 0
    const counting = new (class extends MapTier {
      running = 0
      protected override async _write(id: number, op: TierWriteOp): Promise<number> {
        most = Math.max(most, ++this.running)
        const bytes = await super._write(id, op)
        this.running--
        return bytes
      }
    })({ concurrencyMax: 2 })
    const batch = Array.from({ length: 5 }, () => ({
      allocation: counting.allocate(1)!,
      from: sliceOf(new Uint8Array(1)),
    }))
    await lastValueFrom(counting.write(batch, { signal }))
    expect(most).to.equal(2)
  })
})
