import { MooncakeError } from '@mooncake-ts/core'
import { checkResult } from './errno.js'
import { native, type NativeSocketOptions } from './native.js'
import { socketTarget } from './ring.js'
import type { SocketOptions } from './types.js'

const BACKLOG_DEFAULT = 511

/**
 * A listening socket on an IPv4 or IPv6 literal, or on a unix path (which must not exist). Port 0 takes a
 * free one; `port` tells which (0 for a path).
 * @throws ERR_ADDRESS_IN_USE, ERR_IO
 */
export function listenSocket(
  options:
    | {
        readonly host: string
        readonly port: number
        readonly backlog?: number
        readonly reusePort?: boolean
      }
    | { readonly path: string; readonly backlog?: number },
): { fd: number; port: number } {
  const { target, port } = socketTarget(options)
  const reusePort = 'host' in options && options.reusePort === true
  const fd = checkResult(
    `listen on ${'host' in options ? `${target}:${port}` : target}`,
    native().listenSocket(target, port, options.backlog ?? BACKLOG_DEFAULT, reusePort),
  )
  return { fd, port: checkResult('getsockname', native().localPort(fd)) }
}

/** A stream socket to `connect`. @throws ERR_IO */
export function createSocket(family: 'ipv4' | 'ipv6' | 'unix', options: SocketOptions = {}): number {
  return checkResult('socket', native().createSocket(family, ...nativeOptions(options)))
}

/**
 * Sizes are what the kernel is asked for (SO_SNDBUF, SO_RCVBUF); it takes up to twice as much memory, and has
 * a limit. @throws ERR_IO
 */
export function setSocketOptions(fd: number, options: SocketOptions): void {
  checkResult('setsockopt', native().setSocketOptions(fd, ...nativeOptions(options)))
}

/**
 * Ends both directions, so that operations in flight on the socket end. Not an error when the connection is
 * gone already, or never was.
 * @throws ERR_IO
 */
export function shutdownSocket(fd: number): void {
  const result = native().shutdownSocket(fd)
  if (result < 0 && result !== ENOTCONN) checkResult('shutdown', result)
}

/** Closes an fd that no operation is in flight on. @throws ERR_IO */
export function closeFd(fd: number): void {
  checkResult('close', native().closeFd(fd))
}

/** The other end: `127.0.0.1:4000`, `[::1]:4000` or `unix`. @throws ERR_IO */
export function socketPeer(fd: number): string {
  const peer = native().socketPeer(fd)
  return typeof peer === 'string' ? peer : String(checkResult('getpeername', peer))
}

const ENOTCONN = -107
/** What the kernel takes. */
const KEEP_ALIVE_SECONDS_MAX = 32_767

function nativeOptions(options: SocketOptions): NativeSocketOptions {
  const { sendBufferBytes = -1, receiveBufferBytes = -1, noDelay, keepAliveSeconds = -1 } = options
  for (const bytes of [sendBufferBytes, receiveBufferBytes]) {
    if (!Number.isInteger(bytes) || bytes > 0x7fffffff) {
      throw new MooncakeError('ERR_INVALID_PARAMS', `${bytes} is no size of a socket buffer`)
    }
  }
  if (!Number.isInteger(keepAliveSeconds) || keepAliveSeconds > KEEP_ALIVE_SECONDS_MAX) {
    throw new MooncakeError('ERR_INVALID_PARAMS', `${keepAliveSeconds} is no time for TCP keepalive`)
  }
  return [sendBufferBytes, receiveBufferBytes, noDelay === undefined ? -1 : Number(noDelay), keepAliveSeconds]
}
