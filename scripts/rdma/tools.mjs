/** The programs that the virtual machine needs on the host: looked for, and installed where we may. */
import { existsSync } from 'node:fs'
import { has, Refusal, step } from '../lib/steps.mjs'

/** Debian's package, and what shows that it is there. The guest runs on the host's files, so it needs them on the host. */
const NEEDED = [
  ['qemu-system-x86', () => has('qemu-system-x86_64')],
  ['iproute2', () => has('ip') && has('rdma')],
  ['ibverbs-providers', () => existsSync('/etc/libibverbs.d/rxe.driver')],
  ['ibverbs-utils', () => has('ibv_devinfo')],
  ['perftest', () => has('ib_write_bw') && has('ib_read_bw')],
]
/** Somebody else may be installing at the same time. */
const APT = ['-o', 'DPkg::Lock::Timeout=300', '-o', 'APT::Sandbox::User=root']

/** @throws Refusal with what to type, where a program is missing and we may not install it or cannot */
export async function findTools() {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new Refusal(
      `The virtual machine with RDMA is one for Linux on x64; this is ${process.platform} on ${process.arch}.`,
    )
  }
  if (!has('apt-get') || !has('dpkg-deb')) {
    throw new Refusal(
      'The virtual machine with RDMA is made from packages of Debian, and this host has no apt-get.',
    )
  }
  const missing = NEEDED.filter(([, isThere]) => !isThere()).map(([name]) => name)
  if (missing.length === 0) return
  const install = ['install', '-y', '--no-install-recommends', ...missing]
  if (process.getuid() !== 0) {
    throw new Refusal(
      `The virtual machine with RDMA needs ${missing.join(', ')}, which this host lacks. ` +
        `Type: sudo apt-get update && sudo apt-get ${install.join(' ')}`,
    )
  }
  await update()
  await apt(`apt-get install ${missing.join(' ')}`, install)
}

/**
 * Downloads packages into a folder, without installing them.
 *
 * @param {readonly string[]} names
 * @param {string} folder
 */
export async function download(names, folder) {
  await apt(`apt-get download ${names.join(' ')}`, ['download', ...names], folder)
}

/** Fetches Debian's lists of packages; one list that cannot be had is a warning of apt's only. */
export async function update() {
  if (process.getuid() !== 0) {
    throw new Refusal('This host has no list of Debian packages yet. Type: sudo apt-get update')
  }
  await apt('apt-get update', ['update'])
}

async function apt(title, args, cwd) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  await step(title, 'apt-get', [...APT, ...args], { cwd, env })
}
