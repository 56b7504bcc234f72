import { rm } from 'node:fs/promises'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { assertMayBind, MooncakeError, type Security } from '@mooncake-ts/core'
import { advertisedHost, formatEndpoint, type Endpoint } from '../endpoint.js'

export interface ListenOptions {
  readonly security: Security
  readonly advertiseHost: string | undefined
  readonly connectionsMax: number
  readonly onConnection: (socket: Socket) => void
  /** A connection could not be accepted, e.g. for want of file descriptors. The listener goes on. */
  readonly onError: (error: Error) => void
}

/** A bound address that accepts connections until `close`. */
export interface Listener {
  /** Where peers reach it. */
  readonly endpoint: string
  /** Accepts nothing more at once; settles when the last of its connections is gone. */
  close(): Promise<void>
}

/** @throws ERR_INSECURE_BIND, ERR_ADDRESS_IN_USE, ERR_IO */
export async function listen(endpoint: Endpoint, options: ListenOptions): Promise<Listener> {
  if ('host' in endpoint) assertMayBind(options.security, endpoint.host)
  let server: Server
  try {
    server = await bind(endpoint, options)
  } catch (error) {
    if (!('path' in endpoint) || !isAddressInUse(error) || !(await isStale(endpoint.path))) {
      throw bindError(endpoint, error)
    }
    await rm(endpoint.path)
    server = await bind(endpoint, options).catch((cause: unknown) => {
      throw bindError(endpoint, cause)
    })
  }
  return {
    endpoint: formatEndpoint(advertised(endpoint, server, options.advertiseHost)),
    close: () =>
      new Promise(resolve => {
        server.close(() => {
          resolve()
        })
      }),
  }
}

function bind(endpoint: Endpoint, { onConnection, onError, connectionsMax }: ListenOptions): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer(onConnection)
    server.maxConnections = connectionsMax
    server.once('error', reject)
    server.listen(endpoint, () => {
      server.off('error', reject)
      server.on('error', onError)
      resolve(server)
    })
  })
}

function advertised(endpoint: Endpoint, server: Server, advertiseHost: string | undefined): Endpoint {
  if ('path' in endpoint) return endpoint
  const { port } = server.address() as AddressInfo
  return { host: advertisedHost(endpoint.host, advertiseHost), port }
}

/** A process that was killed leaves its socket file behind; nobody answers there. */
function isStale(path: string): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect({ path })
    socket.once('connect', () => {
      socket.destroy()
      resolve(false)
    })
    socket.once('error', (error: NodeJS.ErrnoException) => {
      resolve(error.code === 'ECONNREFUSED')
    })
  })
}

function isAddressInUse(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'EADDRINUSE'
}

function bindError(endpoint: Endpoint, cause: unknown): MooncakeError {
  const { code, message } = cause as NodeJS.ErrnoException
  const name = formatEndpoint(endpoint)
  if (code === 'EADDRINUSE') {
    return new MooncakeError('ERR_ADDRESS_IN_USE', `${name} is taken: something listens there already`, {
      cause,
    })
  }
  return new MooncakeError('ERR_IO', `Cannot listen on ${name}: ${message}`, { cause })
}
