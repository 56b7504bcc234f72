import { expect } from 'chai'
import { MEMORY, MooncakeError, TRANSPORT, Transfer } from '@mooncake-ts/core'
import type { Exposure, Host, Region, TransferOp, Transport } from '@mooncake-ts/core'
import { inProcess, InProcessNetwork, testHost, until, VirtualClock, watch } from '@mooncake-ts/testkit'

const signal = new AbortController().signal
const OPS = 4

describe('InProcessNetwork', () => {
  const clock = new VirtualClock()
  let network: InProcessNetwork
  let hosts: Host[]
  let a: Transport
  let b: Transport
  let source: Region
  let target: Region
  let exposure: Exposure

  beforeEach(async () => {
    network = new InProcessNetwork({ clock })
    hosts = [await testHost([inProcess({ network })]), await testHost([inProcess({ network })])]
    ;[a, b] = hosts.map(host => host.get(TRANSPORT)) as [Transport, Transport]
    const [mine, theirs] = hosts.map(host => host.get(MEMORY).createRegion({ byteLength: OPS }))
    source = mine!
    target = theirs!
    source.view(0, OPS).fill(1)
    exposure = b.expose(target, { offset: 0, byteLength: OPS, access: 'write' })
  })

  afterEach(async () => {
    network.release()
    for (const host of hosts) await host.stop()
    source.close()
    target.close()
  })

  const batch = (): TransferOp[] =>
    Array.from({ length: OPS }, (_, offset) => ({
      kind: 'write',
      local: { region: source, offset, byteLength: 1 },
      remote: { window: exposure.window, offset, byteLength: 1 },
    }))
  const arrived = (): number[] => [...target.view(0, OPS)]

  it('takes its latency by the clock', async () => {
    network.latencyMs = 10
    const running = watch(a.execute(batch(), { signal }))
    await clock.advance(9)
    expect([running.completions.length, network.inFlight]).to.deep.equal([0, OPS])
    await clock.advance(1)
    expect([running.hasEnded, network.inFlight]).to.deep.equal([true, 0])
    expect(arrived()).to.deep.equal([1, 1, 1, 1])
  })

  it('fails the next operations, as many as were asked for, with the error given', async () => {
    const error = new MooncakeError('ERR_TRANSFER_FAIL', 'cable pulled')
    network.failNext(2, error)
    const { completions } = await watch(a.execute(batch(), { signal })).ended
    expect(completions.filter(completion => completion.error === error)).to.have.lengthOf(2)
    expect(arrived().filter(byte => byte === 1)).to.have.lengthOf(OPS - 2)
  })

  it('parts two ends, for what is posted and for what is in flight, until it heals', async () => {
    network.hold()
    const caught = watch(a.execute(batch(), { signal }))
    await until(() => network.inFlight === OPS)
    network.partition(b.endpoint, a.endpoint)
    network.release()
    const { completions } = await caught.ended
    const later = await watch(a.execute(batch(), { signal })).ended
    for (const { error } of [...completions, ...later.completions])
      expect(error).to.have.property('code', 'ERR_TRANSFER_FAIL')
    expect(arrived()).to.deep.equal([0, 0, 0, 0])
    network.heal(a.endpoint, b.endpoint)
    await new Transfer(s => a.execute(batch(), { signal: s })).done
    expect(arrived()).to.deep.equal([1, 1, 1, 1])
  })

  it('holds operations in flight: an aborted transfer settles only when they have landed', async () => {
    network.hold()
    const transfer = new Transfer(s => a.execute(batch(), { signal: s }))
    await until(() => network.inFlight === OPS)
    let settled = false
    const settling = transfer.done.catch(() => {}).then(() => (settled = true))
    transfer.cancel()
    await clock.advance(1000)
    expect([settled, network.inFlight, arrived()]).to.deep.equal([false, OPS, [0, 0, 0, 0]])
    network.release()
    await settling
    expect([network.inFlight, arrived()]).to.deep.equal([0, [1, 1, 1, 1]])
  })

  for (const what of ['revoke', 'stop of the owner', 'stop of the mover'] as const) {
    it(`holds up a ${what} while an operation is in flight`, async () => {
      network.hold()
      const running = watch(a.execute(batch(), { signal }))
      await until(() => network.inFlight === OPS)
      let settled = false
      const [mover, owner] = hosts
      const ending =
        what === 'revoke' ? exposure.revoke() : (what === 'stop of the owner' ? owner : mover)!.stop()
      const settling = ending.then(() => (settled = true))
      await clock.advance(1000)
      expect([settled, running.completions.length]).to.deep.equal([false, 0])
      network.release()
      await settling
      target.view(0, OPS).fill(7)
      await running.ended
      expect(arrived()).to.deep.equal([7, 7, 7, 7])
    })
  }

  it('releases once, also when nothing is held', async () => {
    network.release()
    network.hold()
    network.hold()
    network.release()
    expect(await new Transfer(s => a.execute(batch(), { signal: s })).done).to.include({ completed: OPS })
  })
})
