import { connect, type Socket } from 'node:net'
import { MooncakeError, type Clock } from '@mooncake-ts/core'
import { formatEndpoint, type Endpoint } from '../endpoint.js'

/**
 * Sockets of this process receive into one buffer, which stays in the cache of the processor: what they get
 * is used up before the next one reads.
 */
const RECEIVE_BYTES = 256 * 1024

export interface DialOptions {
  readonly timeoutMs: number
  readonly clock: Clock
  readonly signal: AbortSignal
  /** Gets what the socket receives; the bytes are valid until it returns. */
  readonly onData: (bytes: Buffer) => void
}

let receiveBuffer: Buffer | undefined

/** @throws ERR_RPC_FAIL; the signal's reason */
export function dial(endpoint: Endpoint, options: DialOptions): Promise<Socket> {
  const { timeoutMs, clock, signal, onData } = options
  const name = formatEndpoint(endpoint)
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason as Error)
      return
    }
    receiveBuffer ??= Buffer.allocUnsafeSlow(RECEIVE_BYTES)
    const callback = (byteLength: number, buffer: Uint8Array): boolean => {
      onData((buffer as Buffer).subarray(0, byteLength))
      return true
    }
    const socket = connect({ ...endpoint, onread: { buffer: receiveBuffer, callback } })
    const settle = (error?: Error): void => {
      timer[Symbol.dispose]()
      signal.removeEventListener('abort', onAbort)
      socket.off('error', onError)
      if (error == null) {
        resolve(socket)
        return
      }
      socket.on('error', () => {}) // Destroying a socket that is about to fail must not end the process.
      socket.destroy()
      reject(error)
    }
    const onAbort = (): void => {
      settle(signal.reason as Error)
    }
    const onError = (cause: NodeJS.ErrnoException): void => {
      // Of several addresses tried in vain Node makes an AggregateError with a code and no message.
      const reason = cause.message === '' ? cause.code : cause.message
      settle(new MooncakeError('ERR_RPC_FAIL', `Cannot connect to ${name}: ${reason}`, { cause }))
    }
    const timer = clock.after(timeoutMs, () => {
      settle(new MooncakeError('ERR_RPC_FAIL', `Cannot connect to ${name} within ${timeoutMs} ms`))
    })
    signal.addEventListener('abort', onAbort, { once: true })
    socket.once('error', onError)
    socket.once('connect', () => {
      settle()
    })
  })
}
