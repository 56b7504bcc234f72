// One way to end a process with an engine in it, run as a process of its own: node child.js <scenario>
// <engine> <inline|bulk>
import { readdirSync } from 'node:fs'
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads'
import {
  createIoEngine,
  createSocket,
  listenSocket,
  shutdownSocket,
  type IoEngine,
  type Ring,
} from '@mooncake-ts/io-uring'
import { createRegion, wrapBuffer } from '@mooncake-ts/memory'

const MIB = 1 << 20
const [scenario, kind, place] = (isMainThread ? process.argv.slice(2) : workerData) as [
  string,
  'io_uring' | 'threads',
  string,
]

interface Setup {
  engine: IoEngine
  ring: Ring
  client: number
  server: number
}

function connect(): Promise<Setup> {
  const engine = createIoEngine({ engine: kind })
  const ring = place === 'bulk' ? (engine.bulk[0] as Ring) : engine.inline
  const listener = listenSocket({ host: '127.0.0.1', port: 0 })
  const client = createSocket('ipv4')
  return new Promise(resolve => {
    ring.accept(listener.fd, server => resolve({ engine, ring, client, server }))
    ring.connect(client, { host: '127.0.0.1', port: listener.port }, () => {})
  })
}

/**
 * Idle receives, a send that nobody reads, and one that is being received: into Regions, one of them over
 * bytes of the heap, which the memory package waits for at the end of a worker, and into bytes of the heap.
 */
async function leaveWorkInFlight(): Promise<IoEngine> {
  const { engine, ring, client, server } = await connect()
  const region = createRegion({ byteLength: 64 * MIB })
  const wrapped = wrapBuffer(new Uint8Array(MIB))
  const slots = [engine.attach(region), engine.attach(new Uint8Array(64 * MIB))] as const
  ring.recv(client, [engine.attach(wrapped), 0, MIB], () => {})
  ring.send(client, [slots[0], 0, 64 * MIB], () => {})
  ring.recv(server, [slots[1], 0, 64 * MIB], () => {}, { waitAll: true })
  ring.submit()
  const other = await connect()
  const slot = other.engine.attach(region)
  other.ring.send(other.client, [slot, 0, 64 * MIB], () => {})
  other.ring.recv(other.client, [slot, 0, MIB], () => {})
  // The end of a worker runs cleanup hooks in reverse: this engine's before that of memory, the first one's
  // after it.
  other.ring.recv(other.server, [other.engine.attach(wrapped), 0, MIB], () => {}, { waitAll: true })
  other.ring.submit()
  region.close()
  return engine
}

async function echoOnce(): Promise<void> {
  const { engine, ring, client, server } = await connect()
  const slot = engine.attach(new Uint8Array(2 * MIB).fill(1, 0, MIB))
  const received = new Promise<number>(resolve =>
    ring.recv(server, [slot, MIB, MIB], resolve, { waitAll: true }),
  )
  ring.send(client, [slot, 0, MIB], () => {})
  if ((await received) !== MIB) throw new Error('short')
  await engine.close()
}

function threads(): number {
  return readdirSync('/proc/self/task').length
}

async function startWorker(work: string): Promise<{ worker: Worker; exited: Promise<unknown> }> {
  const worker = new Worker(new URL(import.meta.url), { workerData: [work, kind, place] })
  const exited = new Promise(resolve => worker.once('exit', resolve))
  await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
  return { worker, exited }
}

const scenarios: Record<string, () => unknown> = {
  async exit() {
    await leaveWorkInFlight()
    process.exit(7)
  },
  /** Nothing in flight: neither the engine nor its threads keep the process. */
  async natural() {
    const { engine } = await connect()
    engine.attach(new Uint8Array(10))
    console.log('ended')
  },
  async unref() {
    const { engine, ring, server } = await connect()
    engine.unref()
    ring.recv(server, [engine.attach(new Uint8Array(10)), 0, 10], () => console.log('must not be called'))
    console.log('ended')
  },
  /** The timer does not keep the process, so only the receive does. */
  async ref() {
    const { engine, ring, server } = await connect()
    ring.recv(server, [engine.attach(new Uint8Array(10)), 0, 10], outcome => console.log('received', outcome))
    setTimeout(() => shutdownSocket(server), 50).unref()
  },
  async throw() {
    await leaveWorkInFlight()
    throw new Error('on purpose')
  },
  async collect() {
    const gc = globalThis.gc as () => void
    const before = threads()
    const setup = await connect()
    // Nobody refers to this engine any more, but its operation does.
    const received = new Promise<number>(resolve => {
      setup.ring.recv(setup.server, [setup.engine.attach(new Uint8Array(10)), 0, 10], resolve)
    })
    const { server } = setup
    for (const field of Object.keys(setup)) delete (setup as Partial<Setup>)[field as keyof Setup]
    for (let i = 0; i < 20; i++) createIoEngine({ engine: kind }).attach(new Uint8Array(MIB))
    for (let i = 0; i < 10; i++) {
      gc()
      await new Promise(resolve => setImmediate(resolve))
    }
    shutdownSocket(server)
    console.log('received', await received)
    for (let i = 0; i < 10 && threads() > before + 8; i++) {
      gc()
      await new Promise(resolve => setImmediate(resolve))
    }
    console.log(threads() <= before + 8 ? 'collected' : `${threads()} threads, ${before} before`)
  },
  async terminate() {
    for (let i = 0; i < 3; i++) await (await startWorker('leave')).worker.terminate()
    console.log('ended')
  },
  async workers() {
    const workers = await Promise.all([startWorker('echo'), startWorker('echo')])
    await Promise.all([echoOnce(), ...workers.map(({ exited }) => exited)])
    console.log('ended')
  },
  async leave() {
    await leaveWorkInFlight()
    parentPort?.postMessage('ready')
  },
  async echo() {
    parentPort?.postMessage('ready')
    for (let i = 0; i < 5; i++) await echoOnce()
  },
}

await scenarios[scenario]?.()
