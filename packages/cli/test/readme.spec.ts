import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { formatBytes } from '@mooncake-ts/core'
import { expect } from 'chai'
import { OBJECT_COMMANDS, objectFlags } from '../dist/commands/objects.js'
import { REPLAY_FLAGS } from '../dist/commands/replay.js'
import { SIMULATE_FLAGS } from '../dist/commands/simulate.js'
import { CLIENT_FLAGS } from '../dist/flags/client.js'
import { commonFlags } from '../dist/flags/common.js'
import { MASTER_FLAGS } from '../dist/flags/master.js'
import type { Flag } from '../dist/flags/spec.js'

const README = fileURLToPath(new URL('../README.md', import.meta.url))
const COMMON = new Set(['config_path', ...commonFlags('info').map(flag => flag.name)])

/** The tables of the README, by the name in its markers `<!-- flags: name -->` and `<!-- end -->`. */
const TABLES: Readonly<Record<string, readonly string[]>> = {
  common: table(commonFlags('info')),
  mooncake_master: table(own(MASTER_FLAGS)),
  mooncake_client: table(own(CLIENT_FLAGS)),
  replay: table(own(REPLAY_FLAGS)),
  simulate: table(own(SIMULATE_FLAGS)),
  objects: table([
    ...own(objectFlags('ls')).filter(flag => !own(OBJECT_COMMANDS.ls!.flags ?? []).includes(flag)),
    ...Object.entries(OBJECT_COMMANDS).flatMap(([command, { flags = [] }]) =>
      flags.map(flag => ({ ...flag, help: `${command}: ${flag.help}` })),
    ),
  ]),
  'not built in mooncake_master': notBuilt(MASTER_FLAGS),
  'not built in mooncake_client': notBuilt(CLIENT_FLAGS),
}

function own(flags: readonly Flag[]): Flag[] {
  return flags.filter(flag => !COMMON.has(flag.name))
}

function table(flags: readonly Flag[]): string[] {
  const rows = flags
    .filter(flag => flag.notBuilt == null)
    .map(flag => {
      const choices =
        flag.choices == null || flag.choices.length < 2
          ? ''
          : `; one of ${flag.choices.map(choice => `\`${choice}\``).join(', ')}`
      const cells = [
        `\`--${flag.name}\``,
        flag.type,
        defaultOf(flag),
        flag.env == null ? '' : `\`${flag.env}\``,
      ]
      return `| ${[...cells, `${flag.help}${choices}`].join(' | ')} |`
    })
  return ['| flag | type | default | environment | meaning |', '|---|---|---|---|---|', ...rows]
}

function defaultOf({ type, default: value }: Flag): string {
  if (value == null || value === '') return ''
  return type === 'bytes' && Number(value) >= 1024
    ? formatBytes(Number(value)).replace('.00', '')
    : String(value)
}

function notBuilt(flags: readonly Flag[]): string[] {
  const names = flags
    .filter(flag => flag.notBuilt != null)
    .map(({ name, env }) => `\`--${name}\`${env == null ? '' : ` (\`${env}\`)`}`)
  return [`${names.join(', ')}.`]
}

describe('README.md of the cli', () => {
  it('has the flags of the programs (UPDATE_DOCS=1 writes them)', () => {
    const text = readFileSync(README, 'utf8')
    const expected = text.replaceAll(
      /(<!-- flags: (.+?) -->\n\n)[^]*?(<!-- end -->)/g,
      (_all, head: string, name: string, tail: string) => {
        expect(TABLES, 'a table of the README').to.have.property(name)
        return `${head}${TABLES[name]!.join('\n')}\n\n${tail}`
      },
    )
    if (process.env.UPDATE_DOCS === '1') writeFileSync(README, expected)
    else expect(text).to.equal(expected)
    for (const name of Object.keys(TABLES)) expect(text).to.include(`<!-- flags: ${name} -->`)
  })
})
