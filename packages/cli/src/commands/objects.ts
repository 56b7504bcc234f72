import { readFile, writeFile } from 'node:fs/promises'
import { hasCode, MooncakeError } from '@mooncake-ts/core'
import { masterClient } from '@mooncake-ts/master'
import { rpc } from '@mooncake-ts/rpc'
import { createStore, type Store } from '@mooncake-ts/store'
import { LOCAL_HOST, MASTER_ADDRESS, masterEndpoints, TENANT_ID } from '../flags/client.js'
import { commonFlags, hostOf, securityOf } from '../flags/common.js'
import { HELP_SHOWN, loadSettings, type Settings } from '../flags/load.js'
import { carriersOf } from '../flags/rdma.js'
import type { Flag } from '../flags/spec.js'
import { refuseWrongTransport, TRANSPORT_FLAGS, transportsOf } from '../flags/transports.js'
import { createLogger } from '../process/logging.js'

/**
 * What every command takes that talks to a running cluster; a person reads their output, so only failures are
 * logged.
 */
const CONNECTION_FLAGS: readonly Flag[] = [
  ...commonFlags('error'),
  MASTER_ADDRESS,
  LOCAL_HOST,
  ...TRANSPORT_FLAGS,
  TENANT_ID,
]

interface ObjectCommand {
  readonly summary: string
  readonly positionals: readonly string[]
  readonly flags?: readonly Flag[]
  /** Gives the exit code. */
  run(store: Store, positionals: readonly string[], settings: Settings): Promise<number>
}

/** What `mooncake` does with single objects of a running cluster. */
export const OBJECT_COMMANDS: Readonly<Record<string, ObjectCommand>> = {
  put: {
    summary: 'Put the bytes of a file under a key (- for standard input). An existing key keeps its value.',
    positionals: ['KEY', 'FILE'],
    flags: [
      { name: 'replicas', type: 'int', help: 'Whole copies, each on another node', default: 1, min: 1 },
      { name: 'upsert', type: 'bool', help: 'Replace an existing value', default: false },
    ],
    async run(store, [key, file], { replicas, upsert }) {
      const bytes = await readInput(file!)
      const existed = await store.exists(key!)
      const options = { replicate: { replicaNum: Number(replicas) }, checksum: true }
      if (upsert === true) await store.upsert(key!, bytes, options)
      else await store.put(key!, bytes, options)
      say(
        existed && upsert !== true
          ? `${key} has a value already, which was kept`
          : `put ${key} (${bytes.byteLength} bytes)`,
      )
      return 0
    },
  },
  get: {
    summary:
      'Write the bytes under a key to a file (- for standard output). Exits with 1 when there are none.',
    positionals: ['KEY', 'FILE'],
    async run(store, [key, file]) {
      const bytes = await store.get(key!)
      if (bytes == null) return miss(key!)
      if (file === '-') process.stdout.write(bytes)
      else {
        await writeFile(file!, bytes)
        say(`got ${key} (${bytes.byteLength} bytes)`)
      }
      return 0
    },
  },
  exists: {
    summary: 'Say whether a key has a value: prints true or false, exits with 0 or 1.',
    positionals: ['KEY'],
    async run(store, [key]) {
      const exists = await store.exists(key!)
      say(String(exists))
      return exists ? 0 : 1
    },
  },
  remove: {
    summary: 'Remove a key from every node that holds it. Exits with 1 when there was none.',
    positionals: ['KEY'],
    async run(store, [key]) {
      if (!(await store.remove(key!))) return miss(key!)
      say(`removed ${key}`)
      return 0
    },
  },
  ls: {
    summary: 'List keys, one a line.',
    positionals: [],
    flags: [
      { name: 'prefix', type: 'string', help: 'Only keys that begin with it', default: '' },
      { name: 'limit', type: 'int', help: 'So many at most', default: 1000, min: 1 },
    ],
    async run(store, _positionals, { prefix, limit }) {
      for (const key of await store.list({ prefix: String(prefix), limit: Number(limit) })) say(key)
      return 0
    },
  },
}

/** All flags of one command. */
export function objectFlags(name: string): readonly Flag[] {
  return [...CONNECTION_FLAGS, ...(OBJECT_COMMANDS[name]!.flags ?? [])]
}

export async function runObjectCommand(name: string, argv: readonly string[]): Promise<number> {
  const command = OBJECT_COMMANDS[name]!
  const flags = objectFlags(name)
  const { summary, positionals } = command
  const invocation = loadSettings({
    program: `mooncake ${name}`,
    summary,
    flags,
    positionals,
    argv,
    env: process.env,
  })
  if (invocation === HELP_SHOWN) return 0
  refuseWrongTransport(invocation)
  await using store = await connect(invocation.settings)
  return await command.run(store, invocation.positionals, invocation.settings)
}

/**
 * A pure client: contributes nothing, reads and writes through others.
 *
 * @throws ERR_CONFIG, ERR_UNAUTHENTICATED, ERR_MASTER_UNAVAILABLE with what to do about it
 */
export async function connect(settings: Settings, name = `cli-${process.pid}`): Promise<Store> {
  const endpoints = masterEndpoints(settings)
  const security = securityOf(settings)
  const host = hostOf(settings, security)
  const logger = createLogger(String(settings.log_level))
  try {
    return await createStore({
      name,
      security,
      logger,
      master: masterClient({ endpoints }),
      rpc: rpc({ listen: [] }),
      // The variable may be set for a whole cluster, and this be the desk of somebody without a device.
      rpcCarriers: carriersOf(settings, { optional: true }),
      transports: transportsOf(settings, `${host}:0`, logger), // The owner writes an object into our memory.
      limits: { masterWaitMs: 5000 },
    })
  } catch (error) {
    const { cause } = error as Error
    if (!hasCode(cause, 'ERR_MASTER_UNAVAILABLE')) throw error
    const message = `No cluster at ${endpoints.join(', ')}: ${(cause as Error).message}. Start mooncake_master, or name another one with --master_server_address.`
    throw new MooncakeError('ERR_MASTER_UNAVAILABLE', message, { cause })
  }
}

async function readInput(file: string): Promise<Uint8Array> {
  if (file !== '-') return await readFile(file)
  const chunks: Uint8Array[] = []
  for await (const chunk of process.stdin) chunks.push(chunk as Uint8Array)
  return Buffer.concat(chunks)
}

function miss(key: string): number {
  process.stderr.write(`No node has ${key}\n`)
  return 1
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
