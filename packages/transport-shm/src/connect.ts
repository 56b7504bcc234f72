import { getSystemErrorName } from 'node:util'
import { asMooncakeError, MooncakeError, type Clock, type Security } from '@mooncake-ts/core'
import type { HostRegion } from '@mooncake-ts/memory'
import { Channel } from './channel.js'
import { greetAsClient } from './handshake.js'
import { native } from './native.js'

export interface ConnectOptions {
  readonly security: Security
  readonly clock: Clock
  readonly connectTimeoutMs: number
  readonly allowOtherUsers: boolean
}

export interface Connected {
  readonly channel: Channel
  /** The grants of the other end. */
  readonly table: HostRegion
}

/** @throws ERR_TRANSFER_FAIL, ERR_PROTOCOL, ERR_UNAUTHENTICATED */
export async function connect(path: string, options: ConnectOptions): Promise<Connected> {
  const { security, clock, connectTimeoutMs } = options
  const fd = native().connect(path)
  if (fd < 0) {
    throw new MooncakeError('ERR_TRANSFER_FAIL', `Could not connect to ${path}: ${getSystemErrorName(fd)}`)
  }
  const channel = new Channel(fd)
  using _timer = clock.after(connectTimeoutMs, () => {
    const message = `The process behind ${path} did not answer within ${connectTimeoutMs} ms`
    channel.close(new MooncakeError('ERR_TRANSFER_FAIL', message))
  })
  try {
    assertUser(fd, options)
    return { channel, table: await greetAsClient(channel, security) }
  } catch (error) {
    channel.close(asMooncakeError(error))
    throw await channel.closed
  }
}

/** @throws ERR_UNAUTHENTICATED for the process of another user, unless such may know the cluster secret */
export function assertUser(
  fd: number,
  { security, allowOtherUsers }: Pick<ConnectOptions, 'security' | 'allowOtherUsers'>,
): void {
  const user = native().peerUser(fd)
  const hasSecret = security.secret != null && security.secret !== ''
  if (user === process.geteuid?.() || (user >= 0 && allowOtherUsers && hasSecret)) return
  throw new MooncakeError('ERR_UNAUTHENTICATED', `The other end runs as user ${user}`)
}
