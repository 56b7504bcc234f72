import { expect } from 'chai'
import { systemClock, type Batch } from '@mooncake-ts/core'
import { until } from '@mooncake-ts/testkit'
import type { ClientLane } from '../dist/lane-client.js'
import { LaneGroup, type LaneGroupHost, type LaneGroupOptions } from '../dist/lane-group.js'
import type { Piece } from '../dist/piece.js'
import { Peer, type PeerDeps } from '../dist/peer.js'
import { PieceQueue } from '../dist/piece-queue.js'

const FRAME_OPS_MAX = 8
const OPTIONS: LaneGroupOptions = {
  lanesMax: 1,
  framesMax: 2,
  packedBytesMin: 100,
  packedBytesMax: 100,
  packedBytesWorth: 100,
}

interface Part {
  readonly byteLength: number
  readonly batch?: unknown
  /** Its Region is closed; called when it has failed. */
  readonly onRefused?: () => void
}

function pieceOf({ byteLength, batch, onRefused }: Part): Piece {
  return { byteLength, operation: { batch, onRefused, takeBack() {} } } as unknown as Piece
}

/** A group over lanes that keep what is posted until a test lets them; their sizes are in `frames`. */
async function start(options: Partial<LaneGroupOptions> = {}, inflightBytesMax = 1e9) {
  const frames: number[][] = []
  let inflightBytes = 0
  let lanes = 0
  const openLane = (): Promise<ClientLane> => {
    lanes++
    let framesInFlight = 0
    let bytesInFlight = 0
    return Promise.resolve({
      limits: { frameOpsMax: FRAME_OPS_MAX, framesMax: 2 },
      rest: new Promise(() => {}),
      get hasRoom() {
        return framesInFlight < 2
      },
      get framesInFlight() {
        return framesInFlight
      },
      get bytesInFlight() {
        return bytesInFlight
      },
      post(pieces: readonly Piece[]) {
        expect(++framesInFlight, 'a lane takes no more than it has room for').to.be.at.most(2)
        for (const { byteLength } of pieces) bytesInFlight += byteLength
        frames.push(pieces.map(({ byteLength }) => byteLength))
      },
    } as unknown as ClientLane)
  }
  const host: LaneGroupHost = {
    clock: systemClock,
    openLane,
    admits: pieceBytes => inflightBytes === 0 || inflightBytes + pieceBytes <= inflightBytesMax,
    prepare: piece => {
      const { onRefused } = piece.operation as unknown as Part
      onRefused?.()
      return onRefused == null
    },
    posted: bytes => (inflightBytes += bytes),
    refuse: () => {},
  }
  const group = new LaneGroup(host, { ...OPTIONS, ...options })
  const push = (...parts: Part[]): void => {
    for (const part of parts) group.push(pieceOf(part))
  }
  push({ byteLength: 1 })
  group.pump() // Opens the first lane.
  await until(() => frames.length === 1)
  frames.length = 0
  inflightBytes = 0
  return { group, push, frames, lanes: () => lanes }
}

const of = (byteLength: number): Part => ({ byteLength })

describe('LaneGroup', () => {
  it('packs up to its limits of bytes and operations, and a larger piece alone', async () => {
    const { group, push, frames } = await start()
    push(of(60), of(40), of(1))
    group.pump()
    expect(frames).to.deep.equal([[60, 40]])
    expect(group.queued, 'the lane is full').to.equal(1)
    const alone = await start()
    alone.push(of(500), of(1))
    alone.group.pump()
    expect(alone.frames).to.deep.equal([[500]])
    const many = await start()
    many.push(...Array.from({ length: FRAME_OPS_MAX + 1 }, () => of(1)))
    many.group.pump()
    expect(many.frames.map(({ length }) => length)).to.deep.equal([FRAME_OPS_MAX])
  })

  for (const { waiting, worth, posted, left } of [
    { waiting: 16, worth: 0, posted: [200, 200, 100], left: 6 },
    { waiting: 16, worth: 250, posted: [250, 250, 150], left: 3 },
    { waiting: 8, worth: 1000, posted: [200, 200], left: 0 },
  ]) {
    it(`gives lanes equal parts of ${waiting} pieces, of half where that is worth a frame (${worth})`, async () => {
      const limits = { packedBytesMin: 20, packedBytesMax: 1000, packedBytesWorth: worth }
      const { group, push, frames } = await start({ lanesMax: 2, ...limits })
      push(...Array.from({ length: waiting }, () => of(50)))
      group.pump()
      // The first lane has room for one more, the one that it opens for two.
      await until(() => frames.length === posted.length)
      const bytes = frames.map(pieces => pieces.reduce((sum, piece) => sum + piece, 0))
      expect(bytes).to.deep.equal(posted)
      expect(group.queued, 'for whoever is free first').to.equal(left)
    })
  }

  it('keeps within the bytes in flight also when it packs, but for one piece alone', async () => {
    const { group, push, frames } = await start({ packedBytesMax: 1000, packedBytesMin: 1000 }, 100)
    push(of(60), of(30), of(30))
    group.pump()
    expect(frames).to.deep.equal([[60, 30]])
    const alone = await start({}, 100)
    alone.push(of(500), of(500))
    alone.group.pump()
    expect(alone.frames).to.deep.equal([[500]])
  })

  it('may be called again by the owner of a piece that fails', async () => {
    const { group, push, frames } = await start({ framesMax: 2 })
    const onRefused = (): void => {
      push(of(100), of(100))
      group.pump()
    }
    push({ byteLength: 10, onRefused }, of(50))
    group.pump()
    expect(frames, 'in order').to.deep.equal([[50]])
    expect(group.queued).to.equal(2)
  })

  it('opens no more lanes than it may', async () => {
    const { group, push, lanes } = await start({ lanesMax: 3 })
    push(...Array.from({ length: 20 }, () => of(100)))
    group.pump()
    await until(() => group.lanes.size === 3)
    group.pump()
    expect(lanes()).to.equal(3)
  })
})

describe('Peer', () => {
  it('has no more bytes in flight than it may, however many fit into a frame', async () => {
    const frames: number[][] = []
    const lane = {
      limits: { frameOpsMax: 100, framesMax: 8 },
      rest: new Promise(() => {}),
      hasRoom: true,
      framesInFlight: 0,
      post: (pieces: readonly Piece[]) => frames.push(pieces.map(({ byteLength }) => byteLength)),
    } as unknown as ClientLane
    const peer = new Peer({
      options: { lanesPerPeer: 1, bulkThresholdBytes: 1e9, inflightBytesMaxPerPeer: 100 },
      clock: systemClock,
      slots: { acquire: () => ({ index: 0 }) },
      connect: () => Promise.resolve(lane),
    } as unknown as PeerDeps)
    const operation = { op: { local: { byteLength: 60 } } }
    peer.push([1, 2, 3].map(() => ({ byteLength: 60, operation }) as unknown as Piece))
    peer.pump()
    await until(() => frames.length > 0)
    expect([frames, peer.queued]).to.deep.equal([[[60]], 2])
  })
})

describe('PieceQueue', () => {
  it('knows how many bytes wait, also when some were taken out', () => {
    const queue = new PieceQueue()
    const [mine, other] = ['mine', 'other'] as unknown as [Batch, Batch]
    for (const [batch, byteLength] of [
      [mine, 1],
      [other, 10],
      [mine, 100],
      [other, 1000],
    ] as const)
      queue.push(pieceOf({ batch, byteLength }))
    queue.shift()
    expect(queue.takeOut(mine).map(({ byteLength }) => byteLength)).to.deep.equal([100])
    expect([queue.length, queue.byteLength, queue.first?.byteLength]).to.deep.equal([2, 1010, 10])
    queue.shift()
    expect(queue.takeOut().map(({ byteLength }) => byteLength)).to.deep.equal([1000])
    expect([queue.length, queue.byteLength]).to.deep.equal([0, 0])
  })
})
