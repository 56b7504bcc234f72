import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const CLASS = '/sys/class/infiniband'

export interface RdmaDevice {
  readonly name: string
  /** Of its first port: RoCE v2 with an IPv4 address; undefined on InfiniBand, which needs none. */
  readonly gidIndex?: number
}

/** Devices whose first port is up. */
export function activeRdmaDevices(): RdmaDevice[] {
  if (!existsSync(CLASS)) return []
  return readdirSync(CLASS)
    .sort()
    .map(name => ({ name, port: join(CLASS, name, 'ports', '1') }))
    .filter(({ port }) => existsSync(port) && read(port, 'state').includes('ACTIVE'))
    .map(({ name, port }) => {
      const gidIndex = readdirSync(join(port, 'gids'))
        .sort((a, b) => Number(a) - Number(b))
        .find(index => isIpv4RoceV2(port, index))
      return gidIndex == null ? { name } : { name, gidIndex: Number(gidIndex) }
    })
}

function isIpv4RoceV2(port: string, index: string): boolean {
  const isIpv4 = read(port, 'gids', index).startsWith('0000:0000:0000:0000:0000:ffff:')
  return isIpv4 && read(port, 'gid_attrs', 'types', index) === 'RoCE v2'
}

function read(...path: string[]): string {
  return readFileSync(join(...path), 'utf8').trim()
}
