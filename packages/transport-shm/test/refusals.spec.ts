import {
  chmodSync,
  existsSync,
  openSync,
  closeSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { kib, MooncakeError } from '@mooncake-ts/core'
import { createRegion } from '@mooncake-ts/memory'
import { until } from '@mooncake-ts/testkit'
import { whyNotShm } from '@mooncake-ts/transport-shm'
import { Channel } from '../dist/channel.js'
import {
  decodeDones,
  decodeStaged,
  encodePulls,
  encodeRegion,
  encodeStage,
  MessageType,
} from '../dist/codec.js'
import { greetAsClient } from '../dist/handshake.js'
import { native } from '../dist/native.js'
import {
  bytesOf,
  cleanUp,
  codeOf,
  codes,
  expose,
  isFilledWith,
  openThings,
  nothingMoreThan,
  operation,
  PeerProcess,
  plain,
  regionOf,
  run,
  socketDirectory,
  startNode,
  type Node,
} from './support.js'

const secret = (text: string) => ({ allowInsecure: false, secret: text })

describe('who is let in', function () {
  this.timeout(30_000)
  const directory = socketDirectory()
  afterEach(cleanUp)

  it('those who know the cluster secret, and nobody else', async () => {
    const { transport: b, logged } = await startNode({ socketDirectory: directory }, secret('right'))
    const { transport: knows } = await startNode({ socketDirectory: directory }, secret('right'))
    const { transport: wrong } = await startNode({ socketDirectory: directory }, secret('wrong'))
    const { transport: none } = await startNode({ socketDirectory: directory })
    const { window } = expose(b, regionOf(100, 1))
    expect(codes(await run(knows, [operation('read', regionOf(100), window)]))).to.deep.equal(['OK'])
    for (const stranger of [wrong, none]) {
      const target = regionOf(100)
      const ops = [operation('read', target, window), operation('write', target, window)]
      const result = codes(await run(stranger, ops))
      expect(result).to.deep.equal(['ERR_UNAUTHENTICATED', 'ERR_UNAUTHENTICATED'])
      expect(isFilledWith(bytesOf(target), 0)).to.equal(true)
    }
    expect(logged.filter(({ level }) => level === 'error')).to.deep.equal([])
  })

  it('processes of the same user, or of others that know the secret where that is allowed', async function () {
    if (process.getuid?.() !== 0) this.skip() // Nobody else may start processes of other users.
    const open = mkdtempSync(join(tmpdir(), 'shm-'))
    chmodSync(open, 0o777)
    const region = regionOf(100, 1)
    for (const allowOtherUsers of [false, true]) {
      const options = { socketDirectory: open, allowOtherUsers }
      const { transport } = await startNode(options, secret('s'))
      const peer = new PeerProcess({ ...options, secret: 's' }, { uid: 65_534 })
      const window = plain(expose(transport, region).window)
      const report = await peer.ask({ type: 'move', kind: 'read', window, byteLength: 100, fill: 0 })
      expect(report.codes).to.deep.equal([allowOtherUsers ? 'OK' : 'ERR_TRANSFER_FAIL'])
    }
    await cleanUp()
    rmSync(open, { recursive: true })
  })

  it('windows of another boot of the kernel are not reached, nor names that are paths', async () => {
    const { transport } = await startNode({ socketDirectory: directory })
    const { window } = expose(transport, regionOf(10))
    const [bootId, name] = window.endpoint.split('/') as [string, string]
    expect(transport.reaches(window)).to.equal(true)
    for (const endpoint of [`${'0'.repeat(36)}/${name}`, `${bootId}/../../etc/passwd`, bootId, '', '/']) {
      const elsewhere = { ...window, endpoint }
      expect(transport.reaches(elsewhere)).to.equal(false)
      const result = codes(await run(transport, [operation('read', regionOf(10), elsewhere)]))
      expect(result).to.deep.equal(['ERR_TRANSFER_FAIL'])
    }
  })
})

describe('the directory of sockets', () => {
  const directory = socketDirectory()
  afterEach(cleanUp)

  it('is made for the user alone, and is left empty', async () => {
    const inner = join(directory, 'a', 'b')
    const { transport } = await startNode({ socketDirectory: inner })
    expect(readdirSync(inner)).to.have.length(1)
    await transport.stop()
    expect(readdirSync(inner)).to.deep.equal([])
  })

  it('loses the sockets of the dead at the next start, and no others', async () => {
    const sockets = (): string[] => readdirSync(directory).filter(file => file.endsWith('.sock'))
    const peer = new PeerProcess({ socketDirectory: directory })
    await peer.expose(1, 0)
    await startNode({ socketDirectory: directory })
    expect(sockets()).to.have.length(2)
    peer.kill('SIGKILL')
    await peer.exited
    writeFileSync(join(directory, 'notes.txt'), 'not a socket')
    await startNode({ socketDirectory: directory })
    expect(sockets()).to.have.length(2)
    expect(existsSync(join(directory, 'notes.txt'))).to.equal(true)
    rmSync(join(directory, 'notes.txt'))
  })

  it('that cannot be is said in a sentence', async () => {
    const file = join(directory, 'file')
    writeFileSync(file, '')
    const cases = [
      [join(file, 'below'), 'ERR_IO'],
      [`/tmp/${'x'.repeat(90)}`, 'ERR_INVALID_PARAMS'],
    ] as const
    for (const [socketDirectory, code] of cases) {
      expect(whyNotShm({ socketDirectory })).to.contain(socketDirectory)
      const started: unknown = await startNode({ socketDirectory }).catch((error: unknown) => error)
      expect(started).to.have.property('code', code)
    }
    expect(whyNotShm({ socketDirectory: directory })).to.equal(undefined)
    expect(whyNotShm({ socketDirectory: 'relative' })).to.contain('absolute')
    rmSync(file)
  })
})

describe('a peer that sends nonsense', function () {
  this.timeout(30_000)
  const directory = socketDirectory()
  afterEach(cleanUp)

  async function connected({ transport }: Node): Promise<Channel> {
    const [, name] = transport.endpoint.split('/') as [string, string]
    const channel = new Channel(native().connect(join(directory, `${name}.sock`)))
    const table = await greetAsClient(channel, { allowInsecure: false })
    table.close()
    return channel
  }

  const nonsense: Readonly<Record<string, (channel: Channel) => void>> = {
    'an unknown type': channel => {
      channel.send(Buffer.from([99]))
    },
    'half a message': channel => {
      channel.send(Buffer.from([13, 1, 2]))
    },
    'a descriptor that is no memfd': channel => {
      const fd = openSync('/dev/null', 'r')
      channel.send(encodeRegion(1, 4096), { fd })
      closeSync(fd)
    },
    'a region that is longer than its memfd': channel => {
      using region = createRegion({ byteLength: 4096 })
      channel.send(encodeRegion(1, 1e12), region)
    },
  }

  for (const [what, send] of Object.entries(nonsense)) {
    it(`loses its connection, and nothing else happens: ${what}`, async () => {
      const node = await startNode({ socketDirectory: directory })
      const before = openThings()
      const channel = await connected(node)
      send(channel)
      await channel.closed
      await until(() => node.logged.some(({ level, code }) => level === 'warn' && code === 'ERR_PROTOCOL'))
      await nothingMoreThan(before)
      const { transport } = await startNode({ socketDirectory: directory })
      const { window } = expose(node.transport, regionOf(10))
      expect(codes(await run(transport, [operation('read', regionOf(10), window)]))).to.deep.equal(['OK'])
    })
  }

  it('is refused what lies outside of its own region, of the window, or of staging', async () => {
    const node = await startNode({ socketDirectory: directory })
    const exposed = regionOf(kib(8), 1)
    const { key } = expose(node.transport, exposed).window
    const channel = await connected(node)
    const answers: Buffer[] = []
    channel.onMessage = message => answers.push(Buffer.from(message))
    const region = regionOf(kib(4), 2)
    channel.send(encodeRegion(5, kib(4)), region)
    const pull = { id: 1, key, windowOffset: 0, regionId: 5, regionOffset: 0, byteLength: 100 }
    const pulls = [
      { ...pull, id: 1, regionOffset: kib(4) - 99 },
      { ...pull, id: 2, windowOffset: kib(8) - 99 },
      { ...pull, id: 3, regionId: 6 },
      { ...pull, id: 4, byteLength: -1 },
      { ...pull, id: 5, windowOffset: Number.NaN },
      { ...pull, id: 6, key: Buffer.alloc(20) },
    ]
    for (const message of encodePulls(pulls)) channel.send(message)
    channel.send(encodeStage({ id: 7, key, offset: 0, byteLength: 2 ** 40 }))
    const answered = (type: number): Buffer | undefined => answers.find(answer => answer[0] === type)
    const staged = await until(() => answered(MessageType.staged))
    const done = await until(() => answered(MessageType.done))
    expect(decodeStaged(staged!).error).to.have.property('code', 'ERR_SLICE_OUT_OF_BOUNDS')
    const refused = decodeDones(done!).filter(({ error }) => error != null)
    expect(refused.map(({ id }) => id)).to.have.members(pulls.map(({ id }) => id))
    expect(isFilledWith(bytesOf(exposed), 1)).to.equal(true)
    channel.close(new MooncakeError('ERR_SHUTTING_DOWN'))
  })

  it('or nothing at all loses its connection after a while', async () => {
    const node = await startNode({ socketDirectory: directory, connectTimeoutMs: 50 })
    const [, name] = node.transport.endpoint.split('/') as [string, string]
    const channel = new Channel(native().connect(join(directory, `${name}.sock`)))
    await channel.closed
  })
})

describe('options', () => {
  it('that make no sense are refused by name', async () => {
    const { shm } = await import('@mooncake-ts/transport-shm')
    for (const options of [{ copyThreads: 0 }, { grantsMax: 1.5 }, { socketDirectory: 'here' }]) {
      expect(codeOf(() => shm(options))).to.equal('ERR_INVALID_PARAMS')
    }
  })
})
