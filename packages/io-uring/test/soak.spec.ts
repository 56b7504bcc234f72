import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect } from 'chai'
import { closeFd, listenSocket } from '@mooncake-ts/io-uring'
import { BYTES_MAX, CONNECTIONS, lengthOf, MESSAGES, move, SOAK } from './soak.js'
import { forEachPlace, pattern, result, sameBytes } from './support.js'

// A completion that nobody is told of ends this by its deadline: every connection waits for its own.
forEachPlace('two processes', bench => {
  it(`exchange messages of one byte to 256 KiB on ${CONNECTIONS} connections`, async () => {
    const { engine, ring } = bench
    const listener = listenSocket({ host: '127.0.0.1', port: 0 })
    const place = ring === engine.inline ? 'inline' : 'bulk'
    const peer = spawn(process.execPath, [SOAK, engine.kind, place, String(listener.port)], {
      stdio: 'inherit',
    })
    const exited = once(peer, 'exit')
    const source = pattern(BYTES_MAX)
    const from = engine.attach(source)
    const exchange = async (): Promise<void> => {
      const fd = await result(ring, done => ring.accept(listener.fd, done))
      bench.fds.push(fd)
      const target = new Uint8Array(BYTES_MAX)
      const to = engine.attach(target)
      await move(ring, 'recv', fd, to, 1)
      const connection = target[0]!
      for (let message = 0; message < MESSAGES; message++) {
        const bytes = lengthOf(connection, message)
        target.fill(0, 0, bytes)
        // Both at once: neither side can send all of it before the other has begun to receive.
        await Promise.all([move(ring, 'send', fd, from, bytes), move(ring, 'recv', fd, to, bytes)])
        if (!sameBytes(target.subarray(0, bytes), source.subarray(0, bytes)))
          throw new Error('other bytes came back')
      }
    }
    try {
      await Promise.all(Array.from({ length: CONNECTIONS }, exchange))
      expect(await exited).to.deep.equal([0, null])
    } finally {
      peer.kill()
      closeFd(listener.fd)
    }
  }).timeout(10_000)
})
