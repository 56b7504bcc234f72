#!/usr/bin/env node
import { OBJECT_COMMANDS, runObjectCommand } from '../commands/objects.js'
import { runReplay } from '../commands/replay.js'
import { runSimulate, SIMULATE_SUMMARY } from '../commands/simulate.js'
import { runProgram } from '../process/run.js'
import { MooncakeError } from '@mooncake-ts/core'

const REPLAY_SUMMARY =
  'Start a cluster on this machine and replay a KV-cache workload through it, every byte verified.'

function usage(): string {
  const summaries = {
    ...Object.fromEntries(Object.entries(OBJECT_COMMANDS).map(([name, c]) => [name, c.summary])),
    replay: REPLAY_SUMMARY,
    simulate: SIMULATE_SUMMARY,
  }
  const lines = Object.entries(summaries).map(([name, summary]) => `  ${name.padEnd(8)} ${summary}`)
  return ['Usage: mooncake COMMAND [--help]', '', ...lines, ''].join('\n')
}

async function main([command, ...argv]: readonly string[]): Promise<number> {
  if (command === 'replay') return await runReplay(argv)
  if (command === 'simulate') return await runSimulate(argv)
  if (command != null && Object.hasOwn(OBJECT_COMMANDS, command)) return await runObjectCommand(command, argv)
  if (command == null || command === 'help' || command === '--help' || command === '-h') {
    process.stdout.write(usage())
    return command == null ? 2 : 0
  }
  throw new MooncakeError(
    'ERR_CONFIG',
    `no command ${JSON.stringify(command)}; there are ${[...Object.keys(OBJECT_COMMANDS), 'replay', 'simulate'].join(', ')}`,
  )
}

void runProgram('mooncake', () => main(process.argv.slice(2)))
