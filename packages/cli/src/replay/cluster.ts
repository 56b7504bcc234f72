import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { ServerProcess } from './child.js'

/** Also with a secret, which would let servers listen everywhere. */
export const LOOPBACK = '127.0.0.1'

const SCRAPE_MS = 5000

export interface LocalClusterOptions {
  readonly nodes: number
  /** DRAM of each node. */
  readonly capacityBytes: number
  /** An SSD tier for each node, in a sub-directory with its name. @defaultValue none */
  readonly ssd?: SsdTierOptions | undefined
  /** On top of the environment of this process, for all of them. */
  readonly env?: Readonly<Record<string, string>>
  /** Of each of them. @defaultValue 120,000 */
  readonly startTimeoutMs?: number
}

export interface SsdTierOptions {
  /** Made where it is missing, and left as it is in the end: another cluster finds its objects again. */
  readonly directory: string
  /** Of each node. */
  readonly capacityBytes: number
}

/** A master and data nodes as processes on loopback, on free ports. */
export class LocalCluster implements AsyncDisposable {
  readonly masterEndpoint: string
  readonly adminEndpoint: string
  readonly servers: readonly ServerProcess[]
  readonly logDir: string
  readonly #metricsEndpoints: readonly string[]

  private constructor(
    init: Pick<LocalCluster, 'masterEndpoint' | 'adminEndpoint' | 'servers' | 'logDir'>,
    metricsEndpoints: readonly string[],
  ) {
    this.masterEndpoint = init.masterEndpoint
    this.adminEndpoint = init.adminEndpoint
    this.servers = init.servers
    this.logDir = init.logDir
    this.#metricsEndpoints = metricsEndpoints
  }

  static async start(options: LocalClusterOptions): Promise<LocalCluster> {
    const { nodes, env = {}, startTimeoutMs } = options
    const logDir = await mkdtemp(join(tmpdir(), 'mooncake-'))
    const servers: ServerProcess[] = []
    try {
      const masterArgs = ['--port=0', '--metrics_port=0', `--rpc_address=${LOOPBACK}`]
      const [master, ready] = await ServerProcess.start('mooncake_master', masterArgs, {
        name: 'master',
        logDir,
        env,
        startTimeoutMs,
      })
      servers.push(master)
      const [masterEndpoint, adminEndpoint] = [ready.rpc!, ready.http!]
      const common = [
        `--host=${LOOPBACK}`,
        '--port=0',
        '--client_rpc_port=0',
        `--master_server_address=${masterEndpoint}`,
        ...(options.ssd == null ? [] : ['--enable_http_server', '--http_port=0']),
      ]
      const metricsEndpoints: string[] = []
      const started = await Promise.allSettled(
        Array.from({ length: nodes }, async (_, index) => {
          const name = `node-${index}`
          const argv = [
            `--name=${name}`,
            `--tiered_backend_config=${await tiersOf(name, options)}`,
            ...common,
          ]
          const [server, ready] = await ServerProcess.start('mooncake_client', argv, {
            name,
            logDir,
            env,
            startTimeoutMs,
          })
          servers.push(server)
          if (ready.http != null) metricsEndpoints.push(ready.http)
        }),
      )
      for (const result of started) if (result.status === 'rejected') throw result.reason
      return new LocalCluster({ masterEndpoint, adminEndpoint, servers, logDir }, metricsEndpoints)
    } catch (error) {
      await stopAll(servers)
      await rm(logDir, { recursive: true, force: true })
      throw error
    }
  }

  /**
   * The sum over all nodes of a counter, by the tier that it is labelled with; nothing where nodes have one
   * tier only.
   */
  async countByTier(counter: string): Promise<Record<string, number>> {
    const pages = await Promise.all(
      this.#metricsEndpoints.map(async endpoint => {
        const response = await fetch(`http://${endpoint}/metrics`, { signal: AbortSignal.timeout(SCRAPE_MS) })
        return await response.text()
      }),
    )
    return sumByTier(pages.join('\n'), counter)
  }

  /** Nodes first, so that they can say good-bye to the master. */
  async stop(): Promise<void> {
    await stopAll(this.servers)
    await rm(this.logDir, { recursive: true, force: true })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }
}

async function tiersOf(name: string, { capacityBytes, ssd }: LocalClusterOptions): Promise<string> {
  const memory = { type: 'DRAM', capacity: capacityBytes, priority: 100, allocator_type: 'OFFSET' }
  if (ssd == null) return JSON.stringify({ tiers: [memory] })
  const directory = resolve(ssd.directory, name)
  await mkdir(directory, { recursive: true })
  const storage = { type: 'STORAGE', capacity: ssd.capacityBytes, priority: 10, storage_filepath: directory }
  return JSON.stringify({ tiers: [memory, storage] })
}

/** Of metrics in the text format of Prometheus. */
export function sumByTier(page: string, counter: string): Record<string, number> {
  const sums: Record<string, number> = {}
  for (const [, name, labels, value] of page.matchAll(/^(\w+)\{([^}]*)\} (\S+)$/gm)) {
    const tier = /(?:^|,)tier="([^"]*)"/.exec(labels!)?.[1]
    if (name === counter && tier != null) sums[tier] = (sums[tier] ?? 0) + Number(value)
  }
  return sums
}

async function stopAll(servers: readonly ServerProcess[]): Promise<void> {
  const [master, ...nodes] = servers
  await Promise.all(nodes.map(node => node.stop()))
  await master?.stop()
}
