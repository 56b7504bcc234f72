import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ServerProcess, type ServerOptions } from '@mooncake-ts/cli'
import { MIB, type Plugin, type Security, type Transport } from '@mooncake-ts/core'
import { masterClient } from '@mooncake-ts/master'
import { rpc } from '@mooncake-ts/rpc'
import { createStore, type Store, type StoreLimits } from '@mooncake-ts/store'
import { until } from '@mooncake-ts/testkit'
import { tcp } from '@mooncake-ts/transport-tcp'
import { freePorts } from './ports.js'

export interface ClusterOptions {
  /** Also given to clients; without one there is none. */
  readonly secret?: string
  /** The address that the master and clients bind. @defaultValue 127.0.0.1 */
  readonly host?: string
  readonly masterArgs?: readonly string[]
}

export interface NodeOptions {
  readonly capacityBytes?: number
  readonly args?: readonly string[]
  readonly host?: string
  readonly wrapper?: readonly string[]
}

/**
 * One data node: where it listens, and the process that does; it keeps its ports when it is started again.
 */
export class DataNode {
  server!: ServerProcess
  constructor(
    readonly name: string,
    readonly rpcPort: number,
    readonly dataPort: number,
    readonly restart: () => Promise<void>,
  ) {}
}

/** A master and data nodes as processes on ports that they keep, to be killed, stopped and started again. */
export class Cluster implements AsyncDisposable {
  readonly #options: ClusterOptions
  readonly #logDir: string
  readonly #servers: ServerProcess[] = []
  readonly #stores: Store[] = []
  readonly masterPort: number
  readonly adminPort: number
  master!: ServerProcess

  private constructor(options: ClusterOptions, logDir: string, ports: readonly number[]) {
    this.#options = options
    this.#logDir = logDir
    this.masterPort = ports[0]!
    this.adminPort = ports[1]!
  }

  static async start(options: ClusterOptions = {}): Promise<Cluster> {
    const logDir = await mkdtemp(join(tmpdir(), 'mooncake-test-'))
    const cluster = new Cluster(options, logDir, await freePorts(2))
    await cluster.startMaster()
    return cluster
  }

  get masterEndpoint(): string {
    return `${this.#host}:${this.masterPort}`
  }

  get #host(): string {
    return this.#options.host ?? '127.0.0.1'
  }

  get #security(): Security {
    const { secret } = this.#options
    return { ...(secret == null ? {} : { secret }), allowInsecure: false }
  }

  /** Also again, on the same port, after it was killed. */
  async startMaster(): Promise<void> {
    const args = [
      `--rpc_address=${this.#host}`,
      `--rpc_port=${this.masterPort}`,
      '--metrics_host=127.0.0.1',
      `--metrics_port=${this.adminPort}`,
      ...(this.#options.masterArgs ?? []),
    ]
    this.master = await this.#startServer('mooncake_master', args, 'master')
  }

  async startNode(name: string, options: NodeOptions = {}): Promise<DataNode> {
    const { capacityBytes = 256 * MIB, host = this.#host, wrapper = [], args = [] } = options
    const [rpcPort, dataPort] = (await freePorts(2)) as [number, number]
    const all = [
      `--name=${name}`,
      `--host=${host}`,
      `--client_rpc_port=${rpcPort}`,
      `--port=${dataPort}`,
      `--master_server_address=${this.masterEndpoint}`,
      `--global_segment_size=${capacityBytes}`,
      ...args,
    ]
    const node = new DataNode(name, rpcPort, dataPort, async () => {
      node.server = await this.#startServer('mooncake_client', all, name, wrapper)
    })
    await node.restart()
    return node
  }

  /** A pure client in this process. */
  async connect(
    name: string,
    limits: StoreLimits = {},
    secret = this.#options.secret,
    transports: readonly Plugin<Transport>[] = [tcp({ listen: `${this.#host}:0` })],
  ): Promise<Store> {
    const store = await createStore({
      name,
      security: secret == null ? this.#security : { secret, allowInsecure: false },
      master: masterClient({ endpoints: [this.masterEndpoint] }),
      rpc: rpc({ listen: [] }),
      transports,
      limits,
    })
    this.#stores.push(store)
    return store
  }

  /** What a server has logged; all of its lives. */
  log(name: string): string {
    return readFileSync(join(this.#logDir, `${name}.log`), 'utf8')
  }

  /** A page of the master's admin server. */
  async admin(path: string): Promise<string> {
    const response = await fetch(`http://127.0.0.1:${this.adminPort}${path}`, {
      signal: AbortSignal.timeout(5000),
    })
    return await response.text()
  }

  /** Settles when the master sees the node in that state; undefined: not at all. */
  async untilNode(name: string, state: string | undefined, deadlineMs = 10_000): Promise<void> {
    const seen = async (): Promise<string | undefined> => {
      const { segments } = JSON.parse(await this.admin('/get_segments_detail')) as {
        segments: ReadonlyArray<{ nodeName: string; state: string }>
      }
      return segments.find(segment => segment.nodeName === name)?.state
    }
    await until(async () => (await seen()) === state, { deadlineMs })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers) if (server.running) server.kill('SIGCONT')
    await Promise.all(this.#stores.map(store => store.close()))
    const [masters, nodes] = [
      this.#servers.filter(isMaster),
      this.#servers.filter(server => !isMaster(server)),
    ]
    await Promise.all(nodes.map(node => node.stop()))
    await Promise.all(masters.map(master => master.stop()))
    await rm(this.#logDir, { recursive: true, force: true })
  }

  async #startServer(
    program: string,
    args: readonly string[],
    name: string,
    wrapper: readonly string[] = [],
  ): Promise<ServerProcess> {
    const { secret } = this.#options
    const options: ServerOptions = {
      name,
      logDir: this.#logDir,
      wrapper,
      env: secret == null ? {} : { MOONCAKE_CLUSTER_SECRET: secret },
    }
    const [server] = await ServerProcess.start(program, args, options)
    this.#servers.push(server)
    return server
  }
}

function isMaster(server: ServerProcess): boolean {
  return server.name === 'master'
}
