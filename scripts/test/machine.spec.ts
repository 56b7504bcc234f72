import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'

const script = join(dirname(dirname(dirname(fileURLToPath(import.meta.url)))), 'test-rdma.mjs')
const hasQemu = spawnSync('sh', ['-c', 'command -v qemu-system-x86_64']).status === 0

interface Ended {
  status: number
  serial: string
}

describe('the end of the virtual machine', () => {
  let judge: (ended: Ended & { said: string; limitS: number }) => number
  before(async () => {
    const path = join(dirname(script), 'rdma', 'judge.mjs')
    judge = ((await import(path)) as { judge: typeof judge }).judge
  })
  const code = (ended: Ended) => judge({ said: '', limitS: 9, ...ended })

  it('is an exit code when the serial port and the status agree', () => {
    expect(code({ status: 129, serial: 'VM-BOOTED 3\r\nVM-DONE rc=0\r\n' })).to.equal(0)
    expect(code({ status: 135, serial: 'VM-DONE rc=3\n' })).to.equal(3)
    expect(code({ status: 137, serial: 'VM-DONE rc=4\n' }), 'also the status of a killed timeout').to.equal(4)
    expect(code({ status: 249, serial: 'VM-DONE rc=137\n' }), 'more than the status can say').to.equal(137)
  })

  it('is never a success when either is missing, or they differ', () => {
    expect(() => code({ status: 0, serial: '' })).to.throw('crashed')
    expect(() => code({ status: 129, serial: '' })).to.throw('crashed')
    expect(() => code({ status: 0, serial: 'VM-DONE rc=0\n' })).to.throw('ended with status 0')
    expect(() => code({ status: 124, serial: 'VM-BOOTED 3\n' })).to.throw('hung: it was ended after 9 s')
    expect(() => code({ status: 129, serial: 'VM-INSMOD-FAILED x\nVM-DONE rc=0\n' })).to.throw('modules')
  })
})

/** A machine that dies must never look like one whose tests passed. Each boot takes 8 s on a quiet host. */
const maybe = hasQemu ? describe : describe.skip
maybe('the virtual machine of npm run test:rdma', function () {
  this.timeout(120_000)

  function run(command: string, ...options: string[]) {
    return spawnSync(process.execPath, [script, '--cmd', command, ...options], { encoding: 'utf8' })
  }

  it('has two devices, shows what the command prints, and returns its exit code', () => {
    const { status, stdout } = run('ls /sys/class/infiniband; pwd; exit 4')
    expect(stdout.split('\n').slice(-4)).to.deep.equal(['rxe0', 'rxe1', dirname(dirname(script)), ''])
    expect(status).to.equal(4)
  })

  it('fails when the kernel panics', () => {
    const { status, stderr } = run('echo c >/proc/sysrq-trigger; sleep 60')
    expect(stderr).to.include('Kernel panic').and.include('The virtual machine crashed')
    expect(status).to.equal(1)
  })

  it('fails when it has no device', () => {
    const { status, stderr } = run('exit 0', '--append', 'module_blacklist=rdma_rxe')
    expect(stderr).to.include('The virtual machine could not load its modules.')
    expect(status).to.equal(1)
  })

  it('ends QEMU when the limit has passed, and leaves nothing behind', () => {
    const { status, stderr } = run('sleep 60', '--limit-s', '2')
    expect(stderr).to.include('The virtual machine hung: it was ended after 2 s.')
    expect(status).to.equal(1)
    const share = /(\/\S+mooncake-vm-\w+)/.exec(stderr)?.[1]
    if (share != null) expect(existsSync(share)).to.equal(false)
  })
})
