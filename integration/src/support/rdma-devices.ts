import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'

const CLASS = '/sys/class/infiniband'

/** True in the virtual machine of `npm run test:rdma`, whose devices and links are ours to break. */
export const inGuest = process.env.MOONCAKE_RDMA_GUEST === '1'

/** The two ends of the wire between the devices of the virtual machine. */
export const LINKS = ['a0', 'b0'] as const

export function rdmaDevices(): string[] {
  return readdirSync(CLASS).sort()
}

/** What a device has sent since it was made. */
export function packetsSent(device: string): number {
  return Number(readFileSync(`${CLASS}/${device}/ports/1/hw_counters/sent_pkts`, 'utf8'))
}

/** Queue pairs and memory regions of all processes on a device. */
export interface RdmaResources {
  readonly ifname: string
  readonly qp: number
  readonly mr: number
}

/** As the kernel counts them, by device; what dead processes had is gone from it. */
export function rdmaResources(): RdmaResources[] {
  const text = execFileSync('rdma', ['-j', 'resource', 'show'], { encoding: 'utf8' })
  return (JSON.parse(text) as RdmaResources[]).map(({ ifname, qp, mr }) => ({ ifname, qp, mr }))
}

export function setLink(link: string, state: 'up' | 'down'): void {
  execFileSync('ip', ['link', 'set', link, state])
}

/** Settles, on Soft-RoCE, when nobody uses the device any more. */
export function removeDevice(name: string): ChildProcess {
  return spawn('rdma', ['link', 'del', name], { stdio: 'ignore' })
}

export function addDevice(name: string, link: string): void {
  execFileSync('rdma', ['link', 'add', name, 'type', 'rxe', 'netdev', link])
}
