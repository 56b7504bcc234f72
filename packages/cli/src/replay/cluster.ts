import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ServerProcess } from './child.js'

/** Also with a secret, which would let servers listen everywhere. */
export const LOOPBACK = '127.0.0.1'

export interface LocalClusterOptions {
  readonly nodes: number
  /** DRAM of each node. */
  readonly capacityBytes: number
  /** On top of the environment of this process, for all of them. */
  readonly env?: Readonly<Record<string, string>>
}

/** A master and data nodes as processes on loopback, on free ports. */
export class LocalCluster implements AsyncDisposable {
  readonly masterEndpoint: string
  readonly adminEndpoint: string
  readonly servers: readonly ServerProcess[]
  readonly logDir: string

  private constructor(init: Pick<LocalCluster, 'masterEndpoint' | 'adminEndpoint' | 'servers' | 'logDir'>) {
    this.masterEndpoint = init.masterEndpoint
    this.adminEndpoint = init.adminEndpoint
    this.servers = init.servers
    this.logDir = init.logDir
  }

  static async start({ nodes, capacityBytes, env = {} }: LocalClusterOptions): Promise<LocalCluster> {
    const logDir = await mkdtemp(join(tmpdir(), 'mooncake-'))
    const servers: ServerProcess[] = []
    try {
      const masterArgs = ['--port=0', '--metrics_port=0', `--rpc_address=${LOOPBACK}`]
      const [master, ready] = await ServerProcess.start('mooncake_master', masterArgs, {
        name: 'master',
        logDir,
        env,
      })
      servers.push(master)
      const [masterEndpoint, adminEndpoint] = [ready.rpc!, ready.http!]
      const tiers = JSON.stringify({
        tiers: [{ type: 'DRAM', capacity: capacityBytes, priority: 100, allocator_type: 'OFFSET' }],
      })
      const common = [
        `--host=${LOOPBACK}`,
        '--port=0',
        '--client_rpc_port=0',
        `--master_server_address=${masterEndpoint}`,
        `--tiered_backend_config=${tiers}`,
      ]
      const started = await Promise.allSettled(
        Array.from({ length: nodes }, async (_, index) => {
          const name = `node-${index}`
          const [server] = await ServerProcess.start('mooncake_client', [`--name=${name}`, ...common], {
            name,
            logDir,
            env,
          })
          servers.push(server)
        }),
      )
      for (const result of started) if (result.status === 'rejected') throw result.reason
      return new LocalCluster({ masterEndpoint, adminEndpoint, servers, logDir })
    } catch (error) {
      await stopAll(servers)
      await rm(logDir, { recursive: true, force: true })
      throw error
    }
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

async function stopAll(servers: readonly ServerProcess[]): Promise<void> {
  const [master, ...nodes] = servers
  await Promise.all(nodes.map(node => node.stop()))
  await master?.stop()
}
