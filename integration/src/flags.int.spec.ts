import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ServerProcess } from '@mooncake-ts/cli'
import { expect } from 'chai'
import { Cluster } from './support/cluster.js'
import { Namespace } from './support/namespace.js'
import { freePorts, occupyPort } from './support/ports.js'
import { runProgram, type Run } from './support/programs.js'
import { valueOf } from './support/values.js'
import { WRONG } from './support/wrong-settings.js'

/** One sentence, and nothing else, on standard error. */
function expectRefusal(run: Run, code: number, ...words: readonly string[]): void {
  const sentence = run.stderr.split('\n').filter(line => line !== '' && !line.startsWith('{"level"'))
  expect(sentence, run.stderr).to.have.length(1)
  for (const word of words) expect(sentence[0]).to.include(word)
  expect(run.code, run.stderr).to.equal(code)
  expect(run.stdout.toString()).to.equal('')
}

describe('flags of the programs', function () {
  this.timeout(150_000)
  let dir: string

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'mooncake-flags-'))
  })
  after(async () => {
    await rm(dir, { recursive: true, force: true })
  })

  async function file(name: string, content: string): Promise<string> {
    const path = join(dir, name)
    await writeFile(path, content)
    return path
  }
  // Programs take half a second to start; they do not disturb each other.
  const runs = new Map<string, Promise<Run>>()
  before(() => {
    for (const [what, program, args, , env = {}] of WRONG)
      runs.set(what, runProgram(program, args, { env, timeoutMs: 120_000 }))
  })
  for (const [what, , , words] of WRONG) {
    it(`refuses ${what} with one sentence and exit code 2`, async () => {
      expectRefusal(await runs.get(what)!, 2, ...words)
    })
  }

  it('tell their version', async () => {
    const programs = ['mooncake', 'mooncake_master', 'mooncake_client']
    const told = await Promise.all(programs.map(program => runProgram(program, ['--version'])))
    const lines = told.map(({ code, stdout }) => `${code} ${stdout.toString()}`)
    for (const [i, program] of programs.entries()) {
      expect(lines[i]).to.match(new RegExp(`^0 ${program} \\d+\\.\\d+\\.\\d+\\n$`))
    }
  })

  it('refuses wrong config files with the path of the file and the setting', async () => {
    const yaml = await file('bad.yaml', 'rpc_port: [1\n')
    const unknown = await file('unknown.yaml', 'rpc_prot: 1\n')
    const wrong = await file('wrong.json', '{"metrics_port": "many"}')
    const [bad, other, value] = await Promise.all(
      [yaml, unknown, wrong].map(path => runProgram('mooncake_master', ['--config-path', path])),
    )
    expectRefusal(bad!, 2, yaml)
    expectRefusal(other!, 2, unknown, 'rpc_prot')
    expectRefusal(value!, 2, wrong, 'metrics_port', '"many"')
  })

  it('says that a port is in use, and exits with 1', async () => {
    using taken = await occupyPort()
    const [asMaster, asAdmin, asNode, asData] = await Promise.all([
      runProgram('mooncake_master', [`--rpc_port=${taken.port}`, '--metrics_port=0', '--log_level=silent']),
      runProgram('mooncake_master', ['--port=0', `--metrics_port=${taken.port}`, '--log_level=silent']),
      runProgram('mooncake_client', [`--client_rpc_port=${taken.port}`, '--port=0', '--log_level=silent']),
      runProgram('mooncake_client', ['--client_rpc_port=0', `--port=${taken.port}`, '--log_level=silent']),
    ])
    for (const run of [asMaster, asAdmin, asNode, asData]) {
      expectRefusal(run, 1, String(taken.port), 'ERR_ADDRESS_IN_USE')
    }
  })

  it('starts a node before its master, and stops it while it waits', async () => {
    const [port] = await freePorts(1)
    const logDir = dir
    const args = ['--name=early', '--port=0', '--client_rpc_port=0', '--global_segment_size=16MiB']
    const starting = ServerProcess.start(
      'mooncake_client',
      [...args, `--master_server_address=127.0.0.1:${port}`],
      {
        name: 'early',
        logDir,
      },
    )
    const [master] = await ServerProcess.start('mooncake_master', [`--port=${port}`, '--metrics_port=0'], {
      name: 'late-master',
      logDir,
    })
    const [node, ready] = await starting
    expect(ready).to.deep.equal({ name: 'early' })
    await node.stop()
    expect((await master.stop()).code).to.equal(0)

    const alone = await runProgram(
      'mooncake_client',
      [...args, `--master_server_address=127.0.0.1:${port}`],
      {
        wrapper: ['timeout', '--preserve-status', '2'],
      },
    )
    expect(alone.code, 'a node that was told to stop').to.equal(0)
    expect(alone.stdout.toString()).to.equal('')
  })

  it('takes settings from the command line, the environment and files, in this order', async () => {
    const [one, two, three] = (await freePorts(3)) as [number, number, number]
    const yaml = await file(
      'master.yaml',
      `rpc_port: ${one}\nmetrics-port: 0\nenable_metric_reporting: false\n`,
    )
    const json = await file(
      'node.json',
      JSON.stringify({
        master_server_address: '127.0.0.1:1',
        name: 'of-file',
        port: 0,
        tiered_backend_config: { tiers: [{ type: 'DRAM', capacity: '16MiB' }] },
        log_level: 'error',
      }),
    )
    const logDir = dir
    const [master, ready] = await ServerProcess.start(
      'mooncake_master',
      ['-config_path', yaml, '--noenable-ha'],
      {
        name: 'master-of-file',
        logDir,
      },
    )
    try {
      expect(ready.rpc).to.equal(`127.0.0.1:${one}`)
      const env = { MOONCAKE_MASTER: `127.0.0.1:${one}`, MC_LOG_LEVEL: 'debug' }
      const args = [`--config_path=${json}`, '--name', 'of-argv', '-client-rpc-port', String(two)]
      const [node, { name }] = await ServerProcess.start('mooncake_client', args, {
        name: 'node',
        logDir,
        env,
      })
      expect(name).to.equal('of-argv')
      await node.stop()
    } finally {
      await master.stop()
    }
    const given = await ServerProcess.start(
      'mooncake_master',
      [`--config_path=${yaml}`, `--rpc-port=${three}`],
      {
        name: 'master-of-argv',
        logDir,
      },
    )
    await given[0].stop()
    expect(given[1].rpc, 'the command line wins over the file').to.equal(`127.0.0.1:${three}`)
  })
})

describe('the two lines of the P2P guide', function () {
  this.timeout(60_000)
  const MASTER = ['--deployment_mode', 'P2P', '--rpc_port', '50051']
  const NODE = [
    ...['--master_server_address', '127.0.0.1:50051', '--port', '50052', '--client_rpc_port', '12345'],
    ...['--deployment_mode', 'P2P', '--tiered_backend_config'],
    '{"tiers":[{"type":"DRAM","capacity":536870912,"priority":100,"allocator_type":"OFFSET"}]}',
  ]

  it('start a cluster as they stand, and the commands talk to it', async () => {
    const logDir = await mkdtemp(join(tmpdir(), 'mooncake-guide-'))
    using namespace = Namespace.create() // There all ports are free.
    const wrapper = namespace?.wrapper ?? []
    const servers: ServerProcess[] = []
    try {
      const [master, ready] = await ServerProcess.start('mooncake_master', MASTER, {
        name: 'master',
        logDir,
        wrapper,
      })
      servers.push(master)
      expect(ready).to.deep.equal({ rpc: '127.0.0.1:50051', http: '127.0.0.1:9003' })
      const [node] = await ServerProcess.start('mooncake_client', NODE, { name: 'node', logDir, wrapper })
      servers.push(node)
      const stdin = valueOf('guide', 100_000)
      const put = await runProgram('mooncake', ['put', 'guide', '-'], { stdin, wrapper })
      expect(put.stdout.toString()).to.equal('put guide (100000 bytes)\n')
      const got = await runProgram('mooncake', ['get', 'guide', '-'], { wrapper })
      expect(got.stdout.equals(stdin)).to.equal(true)
    } finally {
      for (const server of servers.reverse()) await server.stop()
      await rm(logDir, { recursive: true, force: true })
    }
  })
})

describe('mooncake put, get, exists, remove and ls', function () {
  this.timeout(60_000)
  let cluster: Cluster
  let dir: string

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'mooncake-objects-'))
    cluster = await Cluster.start()
    await Promise.all([cluster.startNode('node-0'), cluster.startNode('node-1')])
  })
  after(async () => {
    await cluster[Symbol.asyncDispose]()
    await rm(dir, { recursive: true, force: true })
  })

  const mooncake = (args: readonly string[], stdin?: Uint8Array): Promise<Run> =>
    runProgram('mooncake', args, {
      env: { MOONCAKE_MASTER: cluster.masterEndpoint },
      ...(stdin == null ? {} : { stdin }),
    })

  it('move files and streams, byte for byte', async () => {
    const value = valueOf('file', 3_000_001)
    const [from, to] = [join(dir, 'from'), join(dir, 'to')]
    await writeFile(from, value)
    expect((await mooncake(['put', 'a-file', from, '--replicas=2'])).stdout.toString()).to.equal(
      'put a-file (3000001 bytes)\n',
    )
    const [toFile, toStream, copies] = await Promise.all([
      mooncake(['get', 'a-file', to]),
      mooncake(['get', 'a-file', '-']),
      cluster.admin('/query_key?key=a-file'),
    ])
    expect(toFile.code).to.equal(0)
    expect(toStream.stdout.equals(value)).to.equal(true)
    expect((await mooncake(['put', 'again', to])).code).to.equal(0)
    expect((await mooncake(['get', 'again', '-'])).stdout.equals(value)).to.equal(true)
    expect((JSON.parse(copies) as { replicas: unknown[] }).replicas).to.have.length(2)
  })

  it('keep an existing value unless told to replace it', async () => {
    const [first, second] = [valueOf('old', 10), valueOf('new', 20)]
    await mooncake(['put', 'twice', '-'], first)
    const kept = await mooncake(['put', 'twice', '-'], second)
    expect(kept.stdout.toString()).to.include('which was kept')
    expect((await mooncake(['get', 'twice', '-'])).stdout.equals(first)).to.equal(true)
    await mooncake(['put', 'twice', '-', '--upsert'], second)
    expect((await mooncake(['get', 'twice', '-'])).stdout.equals(second)).to.equal(true)
  })

  it('tell a hit from a miss by exit code and words', async () => {
    await mooncake(['put', 'there', '-'], valueOf('there', 0))
    const [hit, miss, gone, listed] = await Promise.all([
      mooncake(['exists', 'there']),
      mooncake(['exists', 'nowhere']),
      mooncake(['get', 'nowhere', '-']),
      mooncake(['ls', '--prefix=the']),
    ])
    expect([hit.code, hit.stdout.toString()]).to.deep.equal([0, 'true\n'])
    expect([miss.code, miss.stdout.toString()]).to.deep.equal([1, 'false\n'])
    expect([gone.code, gone.stderr]).to.deep.equal([1, 'No node has nowhere\n'])
    expect([listed.code, listed.stdout.toString()]).to.deep.equal([0, 'there\n'])
    expect((await mooncake(['get', 'there', '-'])).code, 'an empty value is no miss').to.equal(0)
    const [removed, again] = [await mooncake(['remove', 'there']), await mooncake(['remove', 'there'])]
    expect([removed.code, again.code]).to.deep.equal([0, 1])
  })

  it('say soon that there is no cluster', async () => {
    const [port] = await freePorts(1)
    const args = ['ls', `--master_server_address=127.0.0.1:${port}`]
    // RDMA is what the cluster has; here there may be none, which is no obstacle.
    const env = { MC_RPC_PROTOCOL: 'rdma' }
    const runs = await Promise.all([runProgram('mooncake', args), runProgram('mooncake', args, { env })])
    for (const run of runs) {
      expectRefusal(run, 1, `127.0.0.1:${port}`, 'mooncake_master')
      expect(run.seconds).to.be.below(12) // 5 to wait for a master, and the start of two on a busy machine.
    }
  })

  it('say what is wrong with a file', async () => {
    const run = await mooncake(['put', 'key', join(dir, 'missing')])
    expectRefusal(run, 1, 'no such file', join(dir, 'missing'))
  })
})
