import { VirtualClock } from '@mooncake-ts/testkit'
import { expect } from 'chai'
import { BackgroundGate } from '../../dist/tiering/background-gate.js'

/** A gate, and somebody who always has work of 10 bytes and asks again when he is told to. */
class Worker {
  readonly clock = new VirtualClock()
  waiting = 0
  begun = 0
  wakes = 0
  readonly gate = new BackgroundGate({
    clock: this.clock,
    opsMax: 3,
    bytesMax: 100,
    progressMs: 50,
    waiting: () => this.waiting,
    onOpen: () => {
      this.wakes++
      this.ask()
    },
  })

  ask(bytes = 10): void {
    while (this.gate.admits(bytes)) {
      this.begun++
      this.gate.enter(bytes)
    }
  }
}

describe('BackgroundGate', () => {
  it('lets in as many operations and bytes as its limits say, and a larger one alone', () => {
    const worker = new Worker()
    worker.ask()
    expect([worker.gate.ops, worker.gate.bytes]).to.deep.equal([3, 30])
    const large = new Worker()
    large.ask(500)
    expect([large.gate.ops, large.gate.bytes]).to.deep.equal([1, 500])
    const two = new Worker()
    two.ask(50)
    expect(two.gate.ops, 'three would be 150 bytes').to.equal(2)
  })

  it('goes on when an operation ends', () => {
    const worker = new Worker()
    worker.ask()
    worker.gate.leave(10)
    expect([worker.begun, worker.gate.ops]).to.deep.equal([4, 3])
  })

  it('lets in one at a time while the foreground is at a device, and the rest when that has ended', () => {
    const worker = new Worker()
    worker.gate.beginForeground()
    worker.gate.beginForeground()
    worker.ask()
    expect(worker.gate.ops).to.equal(1)
    worker.gate.endForeground()
    expect(worker.gate.ops).to.equal(1)
    worker.gate.endForeground()
    expect(worker.gate.ops).to.equal(3)
  })

  it('lets in none while the foreground waits, but for one in each time of progress', async () => {
    const worker = new Worker()
    worker.waiting = 1
    worker.gate.beginForeground()
    worker.ask()
    expect(worker.begun, 'the first may begin at once').to.equal(1)
    worker.gate.leave(10)
    for (let i = 0; i < 100; i++) {
      await worker.clock.advance(10)
      if (worker.gate.ops > 0) worker.gate.leave(10)
    }
    expect(worker.begun, 'one in 50 ms, over a second').to.be.within(15, 21)
    worker.gate[Symbol.dispose]()
    expect(worker.clock.pending).to.equal(0)
  })

  it('asks nobody who was not refused', () => {
    const worker = new Worker()
    worker.gate.enter(10)
    worker.gate.leave(10)
    worker.gate.beginForeground()
    worker.gate.endForeground()
    expect(worker.wakes).to.equal(0)
  })
})
