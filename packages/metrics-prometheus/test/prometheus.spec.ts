import { Host, METRICS, type Metrics } from '@mooncake-ts/core'
import { prometheus, type PrometheusOptions } from '@mooncake-ts/metrics-prometheus'
import { expect } from 'chai'

describe('prometheus', () => {
  const hosts: Host[] = []

  async function start(options: PrometheusOptions = { defaultMetrics: false }): Promise<Metrics> {
    const host = await new Host([prometheus(options)]).start()
    hosts.push(host)
    return host.get(METRICS)
  }

  async function lines(metrics: Metrics): Promise<string[]> {
    return (await metrics.expose()).body.split('\n').filter(line => line !== '' && !line.startsWith('#'))
  }

  afterEach(async () => {
    await Promise.all(hosts.splice(0).map(host => host.stop()))
  })

  it('counts, with and without labels', async () => {
    const metrics = await start()
    const plain = metrics.counter({ name: 'plain_total', help: 'plain' })
    const labelled = metrics.counter({ name: 'labelled_total', help: 'labelled', labelNames: ['tier'] })
    plain.add()
    plain.add(41)
    labelled.add(2, { tier: 'dram' })
    labelled.add(undefined, { tier: 'ssd' })
    expect(await lines(metrics)).to.have.members([
      'plain_total 42',
      'labelled_total{tier="dram"} 2',
      'labelled_total{tier="ssd"} 1',
    ])
  })

  it('gives the same instrument for the same name', async () => {
    const metrics = await start()
    const options = { name: 'same_total', help: 'same' }
    metrics.counter(options).add(1)
    metrics.counter(options).add(1)
    expect(metrics.counter(options)).to.equal(metrics.counter(options))
    expect(await lines(metrics)).to.deep.equal(['same_total 2'])
  })

  it('refuses a name that another kind has', async () => {
    const metrics = await start()
    metrics.counter({ name: 'taken', help: 'x' })
    expect(() => metrics.gauge({ name: 'taken', help: 'x' })).to.throw(TypeError, 'taken')
  })

  it('asks gauges at every scrape, the newest callback first', async () => {
    const metrics = await start()
    let value = 1
    metrics.gauge({ name: 'asked', help: 'x', collect: () => value })
    expect(await lines(metrics)).to.deep.equal(['asked 1'])
    value = 2
    expect(await lines(metrics)).to.deep.equal(['asked 2'])
    metrics.gauge({ name: 'asked', help: 'x', collect: () => 7 })
    expect(await lines(metrics)).to.deep.equal(['asked 7'])
  })

  it('shows NaN where a callback throws, and the rest of the scrape', async () => {
    const metrics = await start()
    metrics.gauge({
      name: 'broken',
      help: 'x',
      collect: () => {
        throw new Error('gone')
      },
    })
    metrics.gauge({ name: 'whole', help: 'x', labelNames: ['a'] }).set(3, { a: 'b' })
    expect(await lines(metrics)).to.have.members(['broken Nan', 'whole{a="b"} 3'])
  })

  it('sorts observations into buckets', async () => {
    const metrics = await start()
    const sizes = metrics.histogram({ name: 'sizes', help: 'x', buckets: [10, 100] })
    sizes.observe(5)
    sizes.observe(50)
    sizes.observe(500)
    expect(await lines(metrics)).to.include.members([
      'sizes_bucket{le="10"} 1',
      'sizes_bucket{le="100"} 2',
      'sizes_bucket{le="+Inf"} 3',
      'sizes_sum 555',
    ])
  })

  it('puts the prefix before every name, the default ones too', async () => {
    const metrics = await start({ prefix: 'kv_' })
    metrics.gauge({ name: 'mine', help: 'x' }).set(1)
    const names = await lines(metrics)
    expect(names).to.include('kv_mine 1')
    expect(names.some(line => line.startsWith('kv_process_resident_memory_bytes '))).to.equal(true)
    expect(names.every(line => line.startsWith('kv_'))).to.equal(true)
  })

  it('keeps two registries apart', async () => {
    const [one, other] = [await start(), await start()]
    one.counter({ name: 'apart_total', help: 'x' }).add(1)
    expect(await lines(other)).to.deep.equal([])
    expect((await other.expose()).contentType).to.match(/^text\/plain; version=0\.0\.4/)
  })
})
