import { readFileSync } from 'node:fs'
import { extname } from 'node:path'
import { Command, CommanderError, Option } from 'commander'
import { parse as parseYaml } from 'yaml'
import { MooncakeError } from '@mooncake-ts/core'
import { checkValue, type Flag, type FlagValue } from './spec.js'

export type Settings = Readonly<Record<string, FlagValue | undefined>>

export interface LoadInput {
  readonly program: string
  readonly summary: string
  readonly flags: readonly Flag[]
  /** Words without a flag that the program needs, e.g. `KEY`. */
  readonly positionals?: readonly string[]
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
}

/** How a setting was said. */
export interface Origin {
  /** `--rpc_port`, `MOONCAKE_MASTER` or `master.yaml: rpc_port`. */
  readonly where: string
  /** The environment may be that of many programs, of which some have no use for the setting. */
  readonly isEnvironment: boolean
}

export interface Invocation {
  readonly settings: Settings
  /** Of every setting that somebody has said. */
  readonly origins: ReadonlyMap<string, Origin>
  /** As many as were asked for. */
  readonly positionals: readonly string[]
}

/** Asked for `--help`; the text has been printed. */
export const HELP_SHOWN = Symbol('help shown')

/**
 * Settings from, first wins: command line, environment, config file (`--config_path`, YAML or JSON), default.
 *
 * @throws ERR_CONFIG with one sentence that names the flag, the variable or the path in the file
 */
export function loadSettings(input: LoadInput): Invocation | typeof HELP_SHOWN {
  const parsed = parseArguments(input)
  if (parsed === HELP_SHOWN) return HELP_SHOWN
  const { given, positionals } = parsed
  const path = given.config_path
  const file = path == null || path === '' ? {} : readConfig(String(path), input.flags)
  const settings: Record<string, FlagValue | undefined> = {}
  const origins = new Map<string, Origin>()
  for (const flag of input.flags) {
    const { name, env = '' } = flag
    const take = (raw: unknown, where: string, isEnvironment = false): void => {
      settings[name] = checkValue(flag, raw, where)
      origins.set(name, { where, isEnvironment })
    }
    if (given[name] !== undefined) take(given[name], `--${name}`)
    else if ((input.env[env] ?? '') !== '') take(input.env[env], env, true)
    else if (file[name] !== undefined) take(file[name], `${String(path)}: ${name}`)
    else settings[name] = flag.default
  }
  return { settings, origins, positionals }
}

/** `--name`, `-name`, with `=value` or without; values may have lines. */
const FLAG = /^--?([a-z][a-z0-9_-]+)(=.*)?$/is

/** gflags' spellings (`-rpc_port=1`, `--rpc-port 1`, `--noenable_x`) in commander's. */
function normalize(argv: readonly string[], flags: readonly Flag[]): string[] {
  const types = new Map(flags.map(flag => [flag.name, flag.type]))
  const words = [...argv]
  const normal: string[] = []
  while (words.length > 0) {
    const word = words.shift()!
    if (word === '--') return [...normal, word, ...words]
    const match = FLAG.exec(word)
    if (match == null) {
      normal.push(word)
      continue
    }
    const name = match[1]!.replaceAll('-', '_')
    const negated = name.replace(/^no_?/, '')
    if (match[2] != null) normal.push(`--${name}${match[2]}`)
    else if (types.get(name) === 'bool') {
      // A bare boolean is true; but `--flag false` is what people write as well.
      const value = /^(true|false)$/i.test(words[0] ?? '') ? words.shift()! : 'true'
      normal.push(`--${name}=${value}`)
    } else if (types.has(name)) normal.push(words.length === 0 ? `--${name}` : `--${name}=${words.shift()!}`)
    else normal.push(types.get(negated) === 'bool' ? `--${negated}=false` : `--${name}`)
  }
  return normal
}

interface Parsed {
  readonly given: Record<string, string | undefined>
  readonly positionals: readonly string[]
}

function parseArguments(input: LoadInput): Parsed | typeof HELP_SHOWN {
  const command = new Command(input.program)
    .description(input.summary)
    .exitOverride()
    .allowExcessArguments(false)
    .configureOutput({ writeErr: () => {} })
  for (const name of input.positionals ?? []) command.argument(`<${name}>`)
  for (const flag of input.flags) {
    const option = new Option(`--${flag.name} <${flag.type}>`, describe(flag))
    command.addOption(flag.notBuilt == null ? option : option.hideHelp())
  }
  try {
    command.parse(normalize(input.argv, input.flags), { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    if (error.code === 'commander.helpDisplayed') return HELP_SHOWN
    throw new MooncakeError('ERR_CONFIG', error.message.replace(/^error: /, '').replaceAll('\n', ' '), {
      cause: error,
    })
  }
  const options = command.opts<Record<string, string | undefined>>()
  // Commander names options in camel case; ours keep the name that the user typed.
  const given = Object.fromEntries(
    command.options.map(option => [option.long!.slice(2), options[option.attributeName()]]),
  )
  return { given, positionals: command.args }
}

function describe(flag: Flag): string {
  const notes = [
    flag.default === undefined || flag.default === '' ? undefined : `default ${String(flag.default)}`,
    flag.env == null ? undefined : `env ${flag.env}`,
  ].filter(note => note != null)
  return notes.length === 0 ? flag.help : `${flag.help} (${notes.join(', ')})`
}

/**
 * Nothing that is said may be ignored, except for the environment.
 *
 * @param why as in `--nodes: means nothing <why>`
 * @throws ERR_CONFIG where one of the settings was said on the command line or in the config file
 */
export function refuseIgnored({ origins }: Invocation, names: readonly string[], why: string): void {
  for (const name of names) {
    const origin = origins.get(name)
    if (origin == null || origin.isEnvironment) continue
    throw new MooncakeError('ERR_CONFIG', `${origin.where}: means nothing ${why}`)
  }
}

function readConfig(path: string, flags: readonly Flag[]): Record<string, unknown> {
  let content: unknown
  try {
    const text = readFileSync(path, 'utf8')
    content = extname(path) === '.json' ? JSON.parse(text) : parseYaml(text, { prettyErrors: false })
  } catch (error) {
    throw new MooncakeError(
      'ERR_CONFIG',
      `--config_path: ${path} cannot be read: ${(error as Error).message}`,
      { cause: error },
    )
  }
  if (content == null || typeof content !== 'object' || Array.isArray(content)) {
    throw new MooncakeError('ERR_CONFIG', `${path}: expected a mapping of settings`)
  }
  const settings: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(content)) {
    const known = flags.find(flag => flag.name === name.replaceAll('-', '_'))
    if (known == null) throw new MooncakeError('ERR_CONFIG', `${path}: ${name}: no such setting`)
    settings[known.name] = value
  }
  return settings
}
