#!/usr/bin/env node
import { OBJECT_COMMANDS, runObjectCommand } from '../commands/objects.js'
import { REPLAY_SUMMARY, SIMULATE_SUMMARY } from '../commands/summaries.js'
import { runProgram } from '../process/run.js'
import { MooncakeError } from '@mooncake-ts/core'

function usage(): string {
  const summaries = {
    ...Object.fromEntries(Object.entries(OBJECT_COMMANDS).map(([name, c]) => [name, c.summary])),
    replay: REPLAY_SUMMARY,
    simulate: SIMULATE_SUMMARY,
  }
  const lines = Object.entries(summaries).map(([name, summary]) => `  ${name.padEnd(8)} ${summary}`)
  return ['Usage: mooncake COMMAND [--help], or mooncake --version', '', ...lines, ''].join('\n')
}

async function main([command, ...argv]: readonly string[]): Promise<number> {
  if (command === 'replay') return await (await import('../commands/replay.js')).runReplay(argv)
  if (command === 'simulate') return await (await import('../commands/simulate.js')).runSimulate(argv)
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

void runProgram('mooncake', main)
