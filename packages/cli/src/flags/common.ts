import { readFileSync } from 'node:fs'
import { MooncakeError, type Security } from '@mooncake-ts/core'
import type { Settings } from './load.js'
import type { Flag } from './spec.js'

/** Settings that every program has. */
export function commonFlags(logLevel: string): readonly Flag[] {
  return [...SECURITY_FLAGS, { ...LOG_LEVEL, default: logLevel }]
}

const SECURITY_FLAGS: readonly Flag[] = [
  { name: 'config_path', type: 'string', help: 'YAML or JSON file with these settings', default: '' },
  {
    name: 'cluster_secret',
    type: 'string',
    help: 'Shared secret of the cluster; better given by the environment or a file',
    env: 'MOONCAKE_CLUSTER_SECRET',
  },
  {
    name: 'cluster_secret_file',
    type: 'string',
    help: 'File that holds the shared secret',
    env: 'MOONCAKE_CLUSTER_SECRET_FILE',
  },
  {
    name: 'allow_insecure',
    type: 'bool',
    help: 'Listen beyond loopback without a secret',
    default: false,
    env: 'MOONCAKE_ALLOW_INSECURE',
  },
]

const LOG_LEVEL: Flag = {
  name: 'log_level',
  type: 'string',
  help: 'Lines below this level are left out',
  choices: ['debug', 'info', 'warn', 'error', 'silent'],
  env: 'MC_LOG_LEVEL',
}

/** @throws ERR_CONFIG */
export function securityOf(settings: Settings): Security {
  const allowInsecure = settings.allow_insecure === true
  const file = settings.cluster_secret_file
  const secret = file == null || file === '' ? settings.cluster_secret : readSecret(String(file))
  return secret == null || secret === '' ? { allowInsecure } : { secret: String(secret), allowInsecure }
}

/**
 * The host that listeners bind: what was asked for, else all interfaces where that is safe or was allowed,
 * else loopback, which the listeners say in the log.
 */
export function hostOf({ host }: Settings, security: Security): string {
  if (host != null && host !== '') return String(host)
  return security.secret != null || security.allowInsecure ? '0.0.0.0' : '127.0.0.1'
}

function readSecret(path: string): string {
  try {
    const secret = readFileSync(path, 'utf8').trim()
    if (secret !== '') return secret
  } catch (error) {
    throw new MooncakeError(
      'ERR_CONFIG',
      `--cluster_secret_file: ${path} cannot be read: ${(error as Error).message}`,
      { cause: error },
    )
  }
  throw new MooncakeError('ERR_CONFIG', `--cluster_secret_file: ${path} is empty`)
}
