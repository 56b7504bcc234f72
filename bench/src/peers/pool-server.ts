import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'

export const HEADER_BYTES = 9
export const GET = 0
export const PUT = 1
export const PATTERN = 0xa5

/** What the process sends to its parent when it listens. */
export interface PoolServer {
  readonly port: number
}

/**
 * The other side of Node's own `net`: a header of an operation and a length, then the bytes to the one side
 * or the other. What comes is copied into the pool, as a store must; a put is answered with a byte.
 */
async function serve(poolBytes: number): Promise<void> {
  const pool = Buffer.alloc(poolBytes, PATTERN)
  let at = 0
  const next = (byteLength: number): Buffer => {
    if (at + byteLength > poolBytes) at = 0
    at += byteLength
    return pool.subarray(at - byteLength, at)
  }
  const server = createServer({ noDelay: true }, socket => {
    answer(socket, next)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const listening: PoolServer = { port: (server.address() as AddressInfo).port }
  process.send!(listening)
  await once(process, 'disconnect')
  process.exit()
}

function answer(socket: Socket, next: (byteLength: number) => Buffer): void {
  let into: Buffer | undefined
  let filled = 0
  socket.on('error', () => socket.destroy())
  socket.on('data', bytes => {
    if (into == null) {
      const byteLength = bytes.readDoubleLE(1)
      if (bytes[0] === GET) {
        socket.write(next(byteLength))
        return
      }
      into = next(byteLength)
      filled = 0
      bytes = bytes.subarray(HEADER_BYTES)
    }
    filled += bytes.copy(into, filled)
    if (filled < into.byteLength) return
    into = undefined
    socket.write('k')
  })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) void serve(Number(process.argv[2]))
