import { once } from 'node:events'
import { createServer, type AddressInfo, type Server } from 'node:net'

/**
 * Ports below those that the system gives to connections by itself, so that a port stays free between two
 * lives of its server.
 */
const [FIRST, LAST] = [20_000, 32_000]

/** Different for processes that test at the same time. */
let next = FIRST + ((process.pid * 97) % (LAST - FIRST))

/** Ports of loopback that nobody listens on just now, none given twice. */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = []
  while (ports.length < count) {
    next = next + 1 < LAST ? next + 1 : FIRST
    const port = next // Somebody else may ask meanwhile.
    if (await isFree(port)) ports.push(port)
  }
  return ports
}

/** Listens on any free port of loopback, for as long as it is not disposed of. */
export async function occupyPort(): Promise<{ readonly port: number } & Disposable> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { port: (server.address() as AddressInfo).port, [Symbol.dispose]: () => void server.close() }
}

async function isFree(port: number): Promise<boolean> {
  const server: Server = createServer()
  const free = await new Promise<boolean>(resolve => {
    server.once('error', () => {
      resolve(false)
    })
    server.listen(port, () => {
      resolve(true)
    })
  })
  if (free) {
    server.close()
    await once(server, 'close')
  }
  return free
}
