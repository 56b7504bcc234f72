import { MooncakeError, parseBytes, parseDurationMs } from '@mooncake-ts/core'

export type FlagValue = string | number | boolean

/**
 * One setting: it can come from the command line, the environment or a config file, and is checked in the
 * same way everywhere.
 */
export interface Flag {
  /** With underscores, as in the reference system; hyphens are accepted too. */
  readonly name: string
  readonly type: 'string' | 'bool' | 'int' | 'ratio' | 'bytes' | 'durationMs' | 'port'
  readonly help: string
  readonly default?: FlagValue
  readonly env?: string
  readonly choices?: readonly string[]
  /** The least that makes sense, of a number. */
  readonly min?: number
  /**
   * Known from the reference system but not built: any value but this one (which asks for nothing) is refused
   * with a sentence, because a flag that is silently ignored is worse than one that is missing.
   */
  readonly notBuilt?: { readonly inert?: FlagValue; readonly instead?: string }
}

/**
 * @param inert the value that asks for nothing, so that it may be given
 * @param instead what to do, as a sentence
 */
export function notBuilt(name: string, type: Flag['type'], inert?: FlagValue, instead?: string): Flag {
  return {
    name,
    type,
    help: '',
    notBuilt: { ...(inert === undefined ? {} : { inert }), ...(instead == null ? {} : { instead }) },
  }
}

/** The same, and refused as well where the environment says it. */
export function ofEnvironment(env: string, flag: Flag): Flag {
  return { ...flag, env }
}

const WANTED: Readonly<Record<Flag['type'], string>> = {
  string: 'a text',
  bool: 'true or false',
  int: 'a whole number, not negative',
  ratio: 'a number from 0 to 1',
  bytes: 'a number of bytes such as 4GB, 512MiB or 1048576',
  durationMs: 'a duration such as 10s, 500ms or 10000 (milliseconds)',
  port: 'a port from 0 to 65535',
}

/**
 * @param where how the user gave it: `--rpc_port`, `MOONCAKE_MASTER` or `master.yaml: rpc_port`
 * @throws ERR_CONFIG
 */
export function checkValue(flag: Flag, raw: unknown, where: string): FlagValue {
  const value = convert(flag, raw)
  if (value === undefined) {
    throw new MooncakeError(
      'ERR_CONFIG',
      `${where}: expected ${WANTED[flag.type]}, got ${JSON.stringify(raw)}`,
    )
  }
  if (flag.min != null && Number(value) < flag.min) {
    throw new MooncakeError(
      'ERR_CONFIG',
      `${where}: expected at least ${flag.min}, got ${JSON.stringify(raw)}`,
    )
  }
  if (flag.choices != null && !flag.choices.includes(String(value))) {
    throw new MooncakeError(
      'ERR_CONFIG',
      `${where}: expected one of ${flag.choices.join(', ')}, got ${JSON.stringify(raw)}`,
    )
  }
  if (flag.notBuilt != null && value !== flag.notBuilt.inert) {
    const instead = flag.notBuilt.instead == null ? '' : ` ${flag.notBuilt.instead}`
    throw new MooncakeError(
      'ERR_CONFIG',
      `${where}: this setting of the reference system is not built yet.${instead}`,
    )
  }
  return value
}

function convert(flag: Flag, raw: unknown): FlagValue | undefined {
  switch (flag.type) {
    case 'string':
      if (raw != null && typeof raw === 'object') return JSON.stringify(raw) // A config file may nest what a flag takes as JSON.
      return raw == null ? undefined : String(raw)
    case 'bool':
      return toBool(raw)
    case 'bytes':
      return typeof raw === 'string' || typeof raw === 'number' ? parseBytes(raw) : undefined
    case 'durationMs':
      return typeof raw === 'string' || typeof raw === 'number' ? parseDurationMs(raw) : undefined
    case 'ratio':
      return toNumber(raw, value => value >= 0 && value <= 1)
    case 'port':
      return toNumber(raw, value => Number.isSafeInteger(value) && value >= 0 && value <= 65_535)
    case 'int':
      return toNumber(raw, value => Number.isSafeInteger(value) && value >= 0)
  }
}

function toBool(raw: unknown): boolean | undefined {
  if (typeof raw === 'boolean') return raw
  const text = String(raw).toLowerCase()
  if (['true', '1', 'yes', 't', 'y'].includes(text)) return true
  return ['false', '0', 'no', 'f', 'n'].includes(text) ? false : undefined
}

function toNumber(raw: unknown, valid: (value: number) => boolean): number | undefined {
  if (typeof raw !== 'number' && (typeof raw !== 'string' || raw.trim() === '')) return undefined
  const value = Number(raw)
  return valid(value) ? value : undefined
}
