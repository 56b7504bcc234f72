/**
 * The kernel and the initramfs of the virtual machine: Debian's stock kernel, unpacked from its package and never
 * installed. Both stay in .cache/rdma/<hash of the recipe>, 11 MB, and are made again only when the recipe changes.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Refusal, root, step } from '../lib/steps.mjs'
import { download, update } from './tools.mjs'

/**
 * In the order in which they can be loaded. crc32-pclmul is left out on purpose: RoCE sums every packet, and an
 * emulated PCLMULQDQ is slower than the plain C of crc32_generic. sch_netem loses and delays packets for those who ask.
 */
const MODULES = [
  ...['crc32_generic', 'crc32c_generic', 'crc32c-intel'],
  ...['virtio_ring', 'virtio', 'virtio_pci_modern_dev', 'virtio_pci_legacy_dev', 'virtio_pci'],
  ...['9pnet', '9pnet_virtio', 'netfs', 'fscache', '9p', 'overlay', 'veth'],
  ...['ib_core', 'ib_uverbs', 'udp_tunnel', 'ip6_udp_tunnel', 'rdma_rxe'],
  ...['configfs', 'ib_cm', 'iw_cm', 'rdma_cm', 'rdma_ucm', 'sch_netem'],
]
const MOUNT_POINTS = ['bin', 'dev', 'host', 'modules', 'out', 'over', 'proc', 'sys', 'top']

const initPath = fileURLToPath(new URL('init.sh', import.meta.url))
const cache = join(root, '.cache', 'rdma')

/** @returns {Promise<{ kernel: string, initramfs: string }>} paths of the two files */
export async function findImage() {
  const recipe = [initPath, fileURLToPath(import.meta.url)].map(path => readFileSync(path))
  const key = createHash('sha256').update(Buffer.concat(recipe)).digest('hex').slice(0, 16)
  const folder = join(cache, key)
  const image = { kernel: join(folder, 'vmlinuz'), initramfs: join(folder, 'initramfs.gz') }
  if (existsSync(image.initramfs)) return image
  const work = join(cache, `${key}.${process.pid}`)
  mkdirSync(work, { recursive: true })
  try {
    await build(work)
    for (const old of readdirSync(cache)) {
      if (!old.includes('.') && old !== key) rmSync(join(cache, old), { recursive: true })
    }
    // Whoever made the same image in the meantime made the same one.
    if (!existsSync(image.initramfs)) renameSync(join(work, 'image'), folder)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
  return image
}

async function build(work) {
  const kernelPackage = kernelPackageName() ?? (await update(), kernelPackageName())
  if (kernelPackage == null) {
    throw new Refusal(
      'apt-cache knows no linux-image-amd64: the virtual machine needs the stock kernel of Debian.',
    )
  }
  await download([kernelPackage, 'busybox-static'], work)
  const tree = join(work, 'tree')
  for (const name of ['kernel', 'busybox', 'image']) mkdirSync(join(work, name))
  for (const name of MOUNT_POINTS) mkdirSync(join(tree, name), { recursive: true })
  const wanted = ['./boot/vmlinuz-*', ...MODULES.map(name => `./lib/modules/*/${name}.ko`)]
  await unpack('linux-image-*.deb', 'kernel', wanted, work)
  await unpack('busybox-static_*.deb', 'busybox', ['./bin/busybox'], work)

  const files = readdirSync(join(work, 'kernel'), { recursive: true }).map(path => join(work, 'kernel', path))
  for (const [index, name] of MODULES.entries()) {
    const target = join(tree, 'modules', `${String(index).padStart(2, '0')}-${name}.ko`)
    copyFileSync(
      files.find(path => path.endsWith(`/${name}.ko`)),
      target,
    )
  }
  copyFileSync(join(work, 'busybox', 'bin', 'busybox'), join(tree, 'bin', 'busybox'))
  copyFileSync(initPath, join(tree, 'init'))
  copyFileSync(
    files.find(path => path.includes('/vmlinuz-')),
    join(work, 'image', 'vmlinuz'),
  )
  const pack = 'chmod 755 init && find . | bin/busybox cpio -o -H newc | gzip -1 >../image/initramfs.gz'
  await bash('initramfs', pack, tree)
}

/** The kernel's version is part of the name of its package, so it has to be asked for. */
function kernelPackageName() {
  const { stdout } = spawnSync('apt-cache', ['depends', 'linux-image-amd64'], { encoding: 'utf8' })
  return /Depends: (linux-image-\S+)/.exec(stdout ?? '')?.[1]
}

async function unpack(archive, folder, wanted, work) {
  const patterns = wanted.map(pattern => `'${pattern}'`).join(' ')
  await bash(
    `unpacking ${archive}`,
    `dpkg-deb --fsys-tarfile ${archive} | tar -x -C ${folder} --wildcards ${patterns}`,
    work,
  )
}

async function bash(title, script, cwd) {
  await step(title, 'bash', ['-c', `set -o pipefail; ${script}`], { cwd })
}
