import { MIB } from '@mooncake-ts/core'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Contender } from './compare.js'
import { freePort, Program } from './programs.js'
import type { RdmaDevice } from './rdma-devices.js'

const GROUPS_UNDER_WAY = 8
const ITERATIONS_MIN = 20
/** Until a first run has told. */
const RATE_GUESS_MIB = 50
const ATTEMPTS_MAX = 10
const LISTEN_MS = 20_000
const POLL_MS = 20

export interface PerftestSetting {
  readonly operation: 'read' | 'write'
  readonly messageBytes: number
  /** Messages under way at a time. */
  readonly depth: number
  /** Of the side that posts, and of the side whose memory it is. */
  readonly from: RdmaDevice
  readonly to: RdmaDevice
}

/** `ib_read_bw` or `ib_write_bw` between two processes, in MiB/s: what verbs without anything around them do. */
export function perftest({ operation, messageBytes, depth, from, to }: PerftestSetting): Contender {
  const program = `ib_${operation}_bw`
  let rate = RATE_GUESS_MIB
  return async durationMs => {
    const iterations = Math.max(ITERATIONS_MIN, Math.round((rate * MIB * durationMs) / 1000 / messageBytes))
    const posted = Math.min(depth, iterations)
    // It posts again when a group has ended: with groups as large as all that is under way, the wire would run dry.
    const group = Math.max(1, Math.floor(posted / GROUPS_UNDER_WAY))
    const args = ['-F', '-N', '-s', messageBytes, '-n', iterations, '-t', posted, '-Q', group]
    for (let attempt = 1; ; attempt++) {
      const output = await runBoth(program, [...args, ...deviceArgs(from)], [...args, ...deviceArgs(to)])
      const average = averageOf(output, messageBytes)
      // It measures the frequency of the processor first, and has no figure where that wavers.
      if (average === 0 && output.includes('Correlation coefficient') && attempt < ATTEMPTS_MAX) continue
      if (!(average > 0)) throw new Error(`Not a measurement: ${output}`)
      rate = average
      return { value: rate }
    }
  }
}

type Args = ReadonlyArray<string | number>

/** All that the client printed. */
async function runBoth(program: string, clientArgs: Args, serverArgs: Args): Promise<string> {
  const port = await freePort()
  await using server = new Program(program, [...serverArgs, '-p', port])
  await untilListening(server, port)
  await using client = new Program(program, [...clientArgs, '-p', port, '127.0.0.1'])
  let output = ''
  client.child.stdout!.setEncoding('utf8').on('data', (text: string) => (output += text))
  await once(client.child, 'close')
  return `${client.complaint}${output}`
}

/** Looks instead of connecting: the server would take a connection for its client's. */
async function untilListening(server: Program, port: number): Promise<void> {
  const listens = new RegExp(`:${port.toString(16).toUpperCase().padStart(4, '0')} \\S+ 0A `)
  const endMs = performance.now() + LISTEN_MS
  while (performance.now() < endMs && server.child.exitCode == null) {
    if (listens.test(readFileSync('/proc/net/tcp', 'utf8') + readFileSync('/proc/net/tcp6', 'utf8'))) return
    await sleep(POLL_MS)
  }
  throw new Error(`${server.child.spawnfile} does not listen on port ${port}: ${server.complaint.trim()}`)
}

function deviceArgs({ name, gidIndex }: RdmaDevice): Array<string | number> {
  return ['-d', name, ...(gidIndex == null ? [] : ['-x', gidIndex])]
}

/** Of the row `bytes iterations peak average rate`; perftest's MB are 2^20 bytes. */
function averageOf(output: string, messageBytes: number): number {
  const row = output.split('\n').find(line => line.trim().startsWith(`${messageBytes} `))
  return Number(row?.trim().split(/\s+/)[3])
}
