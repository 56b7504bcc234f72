// What both processes of the soak test know. Run by itself it is the second one, which echoes all that it
// receives: node soak.js <engine> <inline|bulk> <port>
import { fileURLToPath } from 'node:url'
import { createIoEngine, createSocket, type IoEngineOptions, type Ring } from '@mooncake-ts/io-uring'
import { result } from './support.js'

export const SOAK = fileURLToPath(import.meta.url)
/** More than the kernel finishes in one call. */
export const CONNECTIONS = 40
export const MESSAGES = 120
export const BYTES_MAX = 256 * 1024

/** From one byte to the most, each order of magnitude as often; the same in both processes. */
export function lengthOf(connection: number, message: number): number {
  const random = (Math.imul(connection * MESSAGES + message + 1, 2654435761) >>> 0) / 2 ** 32
  return Math.floor(BYTES_MAX ** random)
}

/** Moves one message; the whole of it, or it was the end. */
export async function move(
  ring: Ring,
  what: 'send' | 'recv',
  fd: number,
  slot: number,
  bytes: number,
): Promise<void> {
  const vec = [slot, 0, bytes]
  const moved = await result(ring, done =>
    what === 'send' ? ring.send(fd, vec, done) : ring.recv(fd, vec, done, { waitAll: true }),
  )
  if (moved !== bytes) throw new Error(`${what} of ${bytes} bytes: ${moved}`)
}

async function echoAll(kind: IoEngineOptions['engine'], place: string, port: number): Promise<void> {
  const engine = createIoEngine({ engine: kind })
  const ring = place === 'bulk' ? engine.bulk[0]! : engine.inline
  const echo = async (connection: number): Promise<void> => {
    const fd = createSocket('ipv4', { noDelay: true })
    await result(ring, done => ring.connect(fd, { host: '127.0.0.1', port }, done))
    const slot = engine.attach(new Uint8Array(BYTES_MAX))
    // Connections are accepted in any order, so each says first which it is.
    const hello = engine.attach(Uint8Array.of(connection))
    await move(ring, 'send', fd, hello, 1)
    for (let message = 0; message < MESSAGES; message++) {
      await move(ring, 'recv', fd, slot, lengthOf(connection, message))
      await move(ring, 'send', fd, slot, lengthOf(connection, message))
    }
  }
  await Promise.all(Array.from({ length: CONNECTIONS }, (_, connection) => echo(connection)))
  await engine.close()
}

if (process.argv[1] === SOAK) {
  const [kind, place, port] = process.argv.slice(2) as ['io_uring' | 'threads', string, string]
  await echoAll(kind, place, Number(port))
}
