import { networkInterfaces } from 'node:os'
import { MooncakeError } from '../errors/error.js'

export interface HostPort {
  readonly host: string
  readonly port: number
}

/**
 * `127.0.0.1:7000`, `node-1:7000` or `[::1]:7000`.
 * @throws ERR_INVALID_PARAMS
 */
export function parseHostPort(text: string): HostPort {
  const match = /^(?:\[([0-9a-f:.]+(?:%[\w.-]+)?)\]|([^:[\]\s]+)):(\d{1,5})$/i.exec(text)
  const port = Number(match?.[3])
  if (match != null && port <= 65_535) return { host: match[1] ?? match[2]!, port }
  throw new MooncakeError('ERR_INVALID_PARAMS', `${text} is not an address; wanted host:port or [ipv6]:port`)
}

export function formatHostPort({ host, port }: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** What peers should dial when this end listens on `host`: for a wildcard, the first outer address. */
export function outwardHost(host: string): string {
  if (host !== '0.0.0.0' && host !== '::') return host
  const family = host === '::' ? 'IPv6' : 'IPv4'
  const outer = Object.values(networkInterfaces())
    .flatMap(addresses => addresses ?? [])
    .find(address => !address.internal && address.family === family && !address.address.startsWith('fe80:'))
  return outer?.address ?? (family === 'IPv6' ? '::1' : '127.0.0.1')
}
