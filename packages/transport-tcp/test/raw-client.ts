import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { createNonce, proveSecret, type RemoteWindow, type Security } from '@mooncake-ts/core'
import {
  DESCRIPTOR_BYTES,
  encodeDescriptor,
  encodeRequestHead,
  KIND_WRITE,
  REQUEST_HEAD_BYTES,
} from '../dist/codec.js'
import { PROTOCOL } from '../dist/handshake.js'
import { atEnd } from './support.js'

const MAGIC = 0x4854434d

/** A plain socket to a listener, for what a well-behaved lane would never send. */
export async function rawSocket(endpoint: string): Promise<{ socket: Socket; closed: Promise<void> }> {
  const [host, port] = endpoint.split(':') as [string, string]
  const socket = connect(Number(port), host)
  const closed = new Promise<void>(resolve =>
    socket.once('close', () => {
      resolve()
    }),
  )
  socket.on('error', () => {})
  atEnd(() => void socket.destroy())
  await once(socket, 'connect')
  return { socket, closed }
}

export function hello(version = 1, clientNonce = createNonce()): Buffer {
  const opening = Buffer.alloc(8)
  opening.writeUInt32LE(MAGIC, 0)
  opening.writeUInt32LE(version, 4)
  return Buffer.concat([opening, clientNonce])
}

/** A socket that has greeted properly; what follows is up to the test. */
export async function greetedSocket(endpoint: string, security: Security = { allowInsecure: false }) {
  const raw = await rawSocket(endpoint)
  const clientNonce = createNonce()
  raw.socket.write(hello(1, clientNonce))
  const challenge = await readBytes(raw.socket, 80)
  const serverNonce = challenge.subarray(16, 48)
  raw.socket.write(proveSecret(security, 'client', { protocol: PROTOCOL, clientNonce, serverNonce }))
  await readBytes(raw.socket, 4)
  raw.socket.resume()
  return raw
}

/** The head and the one descriptor of a write, without its payload. */
export function writeRequest(window: RemoteWindow, byteLength: number, writeBytes = byteLength): Buffer {
  const bytes = Buffer.alloc(REQUEST_HEAD_BYTES + DESCRIPTOR_BYTES)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  encodeRequestHead(view, 0, { sequence: 0, opCount: 1, writeBytes })
  bytes.set(window.key, REQUEST_HEAD_BYTES)
  encodeDescriptor(view, REQUEST_HEAD_BYTES, {
    kind: KIND_WRITE,
    offset: 0,
    operationBytes: byteLength,
    byteLength,
  })
  return bytes
}

async function readBytes(socket: Socket, byteLength: number): Promise<Buffer> {
  for (;;) {
    const bytes = socket.read(byteLength) as Buffer | null
    if (bytes != null) return bytes
    await once(socket, 'readable')
  }
}
