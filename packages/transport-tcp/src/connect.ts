import { closeFd, createSocket, errnoName } from '@mooncake-ts/io-uring'
import { asMooncakeError, MooncakeError, parseHostPort, type Clock, type Security } from '@mooncake-ts/core'
import { greetAsClient, type LaneLimits } from './handshake.js'
import { clientHeadBytes } from './lane-client.js'
import type { LaneIo } from './lane-io.js'
import { LaneSocket } from './lane-socket.js'
import { resolveHost } from './resolve-host.js'

export interface ConnectOptions {
  readonly io: LaneIo
  readonly security: Security
  readonly clock: Clock
  readonly connectTimeoutMs: number
  readonly socketBufferBytes: number
  /** This end's limits; those of the target come on top. */
  readonly limits: LaneLimits
  readonly signal: AbortSignal
}

export interface Connected {
  readonly socket: LaneSocket
  readonly limits: LaneLimits
}

/**
 * Connects to a listener and greets it, within `connectTimeoutMs` for both.
 * @throws ERR_TRANSFER_FAIL, ERR_PROTOCOL, ERR_UNAUTHENTICATED, or the signal's reason
 */
export async function connectLane(endpoint: string, options: ConnectOptions): Promise<Connected> {
  const { clock, signal, connectTimeoutMs } = options
  signal.throwIfAborted()
  const deadline = new AbortController()
  using timer = clock.after(connectTimeoutMs, () => {
    const message = `${endpoint} did not answer within ${connectTimeoutMs} ms`
    deadline.abort(new MooncakeError('ERR_TRANSFER_FAIL', message))
  })
  void timer
  const either = AbortSignal.any([signal, deadline.signal])
  const { host, port } = parseHostPort(endpoint)
  const { address, family } = await orAborted(resolveHost(host), either)
  const { io, socketBufferBytes, security } = options
  const fd = createSocket(family, { noDelay: true, sendBufferBytes: socketBufferBytes })
  let socket: LaneSocket
  try {
    await connectSocket(io, fd, { host: address, port }, either)
    socket = new LaneSocket(io, fd, clientHeadBytes(options.limits))
  } catch (error) {
    closeFd(fd)
    throw error
  }
  const end = (): void => {
    socket.destroy(asMooncakeError(either.reason))
  }
  either.addEventListener('abort', end, { once: true })
  try {
    const theirs = await greetAsClient(socket, security)
    return { socket, limits: atMost(options.limits, theirs) }
  } catch (error) {
    socket.destroy(asMooncakeError(error))
    throw await socket.rest
  } finally {
    either.removeEventListener('abort', end)
  }
}

async function connectSocket(
  io: LaneIo,
  fd: number,
  address: { host: string; port: number },
  signal: AbortSignal,
): Promise<void> {
  const { inline } = io.engine
  const result = await new Promise<number>(resolve => {
    const id = inline.connect(fd, address, resolve)
    const cancel = (): void => {
      inline.cancel(id)
    }
    if (signal.aborted) cancel()
    else signal.addEventListener('abort', cancel, { once: true })
  })
  if (result >= 0) return
  signal.throwIfAborted()
  const cause = new Error(`connect ${errnoName(result)} ${address.host}:${address.port}`)
  throw new MooncakeError('ERR_TRANSFER_FAIL', `Could not connect: ${cause.message}`, { cause })
}

/** For waits that cannot be cancelled, but hold nothing either. */
function orAborted<T>(wait: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      reject(signal.reason as Error)
    }
    signal.addEventListener('abort', abort, { once: true })
    wait.then(resolve, reject).finally(() => {
      signal.removeEventListener('abort', abort)
    })
  })
}

function atMost(ours: LaneLimits, theirs: LaneLimits): LaneLimits {
  return {
    frameOpsMax: Math.min(ours.frameOpsMax, theirs.frameOpsMax),
    framesMax: Math.min(ours.framesMax, theirs.framesMax),
  }
}
