/** Runs one command in a virtual machine with two Soft-RoCE devices, and says how it ended. */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Refusal, root } from '../lib/steps.mjs'
import { follow } from './follow.mjs'
import { findImage } from './image.mjs'
import { judge } from './judge.mjs'
import { findTools } from './tools.mjs'
import { packPrograms } from './programs.mjs'

const MEMORY_MIB = 1536
const KILL_AFTER_S = 5
const linksPath = fileURLToPath(new URL('links.sh', import.meta.url))

/**
 * @param {string} command for bash, run in the root of the checkout, which is where it is on the host; what it writes
 *   is lost, except below the folder that `$VM_OUT` names
 * @param {{ limitS: number, append?: string, onOut?: (folder: string) => void }} options `append` goes to the kernel's
 *   command line; `onOut` is called at the end with the host's name of `$VM_OUT`
 * @returns {Promise<number>} the command's exit code
 * @throws Refusal where the machine crashed, hung, or had no device
 */
export async function runInMachine(command, { limitS, append = '', onOut }) {
  const image = await prepareMachine()
  const share = mkdtempSync(join(tmpdir(), 'mooncake-vm-'))
  try {
    mkdirSync(join(share, 'out'))
    writeFileSync(join(share, 'command.sh'), script(command))
    writeFileSync(join(share, 'log'), '')
    writeFileSync(join(share, 'root'), root)
    await packPrograms(join(share, 'programs.tar'))
    const stopFollowing = follow(join(share, 'log'), process.stdout)
    const ended = await runQemu(image, share, { limitS, append })
    await stopFollowing()
    onOut?.(join(share, 'out'))
    const code = judge({ ...ended, serial: readIfThere(join(share, 'serial')), limitS })
    if (existsSync(join(share, 'no-device'))) throw new Refusal('The virtual machine has no RDMA device.')
    return code
  } finally {
    rmSync(share, { recursive: true, force: true })
  }
}

/**
 * Sees to it that there is all that the machine is made of: installs and downloads, where something is missing.
 *
 * @throws Refusal where that is not possible here
 */
export async function prepareMachine() {
  await findTools()
  return findImage()
}

function script(command) {
  const path = [
    dirname(process.execPath),
    '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  ].join(':')
  return [
    `export PATH=${quote(path)} HOME=/root LANG=C.UTF-8 VM_OUT=/run/vm/out MOONCAKE_RDMA_GUEST=1`,
    `cd ${quote(root)} || exit 63`,
    `bash ${quote(linksPath)} || { touch /run/vm/no-device; exit 62; }`,
    `bash -c ${quote(command)}`,
    '',
  ].join('\n')
}

/** `timeout` ends QEMU also where we are killed and cannot. */
async function runQemu(image, share, { limitS, append }) {
  const virtfs = (path, tag, more) => [
    '-virtfs',
    `local,path=${path.replaceAll(',', ',,')},mount_tag=${tag},security_model=none,multidevs=remap${more}`,
  ]
  const args = [
    ...['-k', String(KILL_AFTER_S), String(limitS), 'qemu-system-x86_64'],
    ...['-accel', 'tcg,thread=multi', '-smp', '2', '-cpu', 'max', '-m', String(MEMORY_MIB)],
    ...['-display', 'none', '-monitor', 'none', '-nic', 'none', '-no-reboot'],
    ...['-serial', `file:${join(share, 'serial')}`],
    ...['-kernel', image.kernel, '-initrd', image.initramfs],
    ...['-device', 'isa-debug-exit,iobase=0xf4,iosize=0x04'],
    ...virtfs('/', 'host', ',readonly=on'),
    ...virtfs(share, 'out', ''),
    ...['-append', `console=ttyS0 panic=-1 oops=panic edd=off quiet rdinit=/init ${append}`],
  ]
  const child = spawn('timeout', args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const said = []
  child.stdout.on('data', chunk => said.push(chunk))
  child.stderr.on('data', chunk => said.push(chunk))
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP']
  let interrupted
  const end = signal => {
    interrupted = signal
    child.kill('SIGTERM')
  }
  for (const signal of signals) process.on(signal, end)
  try {
    const status = await new Promise((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (code, signal) => resolve(code ?? signal))
    })
    return { status, interrupted, said: Buffer.concat(said).toString() }
  } finally {
    for (const signal of signals) process.off(signal, end)
  }
}

function readIfThere(path) {
  return existsSync(path) ? readFileSync(path, 'utf8') : ''
}

/** For a shell. */
export function quote(text) {
  return `'${text.replaceAll("'", "'\\''")}'`
}
