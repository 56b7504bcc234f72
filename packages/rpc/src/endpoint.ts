import { networkInterfaces } from 'node:os'
import { isIPv6 } from 'node:net'
import { isLoopback, MooncakeError } from '@mooncake-ts/core'

/** Where a socket listens or is connected to; the fields are those that `node:net` takes. */
export type Endpoint = { readonly host: string; readonly port: number } | { readonly path: string }

const HOST_AND_PORT = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/

/**
 * `host:port`, `[v6 address]:port` or `unix:/path`.
 * @throws ERR_INVALID_PARAMS
 */
export function parseEndpoint(text: string): Endpoint {
  if (text.startsWith('unix:') && text.length > 'unix:'.length) return { path: text.slice('unix:'.length) }
  const match = HOST_AND_PORT.exec(text)
  const port = Number(match?.[3])
  if (match == null || port > 65_535) {
    throw new MooncakeError(
      'ERR_INVALID_PARAMS',
      `'${text}' is no endpoint; expected host:port or unix:/path`,
    )
  }
  return { host: match[1] ?? match[2]!, port }
}

export function formatEndpoint(endpoint: Endpoint): string {
  if ('path' in endpoint) return `unix:${endpoint.path}`
  return isIPv6(endpoint.host) ? `[${endpoint.host}]:${endpoint.port}` : `${endpoint.host}:${endpoint.port}`
}

/** What peers are told: `0.0.0.0` is an address to listen on, not one to connect to. */
export function advertisedHost(boundHost: string, advertiseHost: string | undefined): string {
  if (isLoopback(boundHost)) return boundHost
  if (advertiseHost != null) return advertiseHost
  return boundHost === '0.0.0.0' || boundHost === '::' ? firstOutwardAddress() : boundHost
}

function firstOutwardAddress(): string {
  const addresses = Object.values(networkInterfaces()).flatMap(list => list ?? [])
  const outward = addresses.find(address => !address.internal && address.family === 'IPv4')
  return outward?.address ?? '127.0.0.1'
}
