import { isIP } from 'node:net'
import { lookup } from 'node:dns/promises'

/** The numeric address of a host, because sockets know no names. */
export async function resolveHost(host: string): Promise<{ address: string; family: 'ipv4' | 'ipv6' }> {
  const known = isIP(host)
  const { address, family } = known === 0 ? await lookup(host) : { address: host, family: known }
  return { address, family: family === 6 ? 'ipv6' : 'ipv4' }
}
