import { open } from 'node:fs/promises'
import { MooncakeError } from '@mooncake-ts/core'

/** Tokens of one block, as in the published traces. */
export const TOKENS_PER_BLOCK = 512

/**
 * One request of a workload: the blocks of its prompt, from the first on. Equal ids mean an equal prefix up
 * to and with that block.
 */
export interface ReplayRequest {
  readonly inputTokens: number
  readonly blockIds: readonly number[]
}

/**
 * Requests of a JSON-lines trace in the form of the Mooncake FAST'25 release.
 * @throws ERR_CONFIG with the line
 */
export async function* readTrace(path: string): AsyncGenerator<ReplayRequest> {
  let number = 0
  try {
    await using file = await open(path)
    for await (const line of file.readLines()) {
      number++
      if (line.trim() !== '') yield parseLine(line)
    }
  } catch (error) {
    const where = number === 0 ? path : `${path}:${number}`
    throw new MooncakeError('ERR_CONFIG', `--trace: ${where}: ${(error as Error).message}`, { cause: error })
  }
}

function parseLine(line: string): ReplayRequest {
  const record = JSON.parse(line) as { input_length?: unknown; hash_ids?: unknown } | null
  const { input_length: inputTokens, hash_ids: blockIds } = record ?? {}
  const isId = (id: unknown): boolean => Number.isSafeInteger(id)
  if (typeof inputTokens !== 'number' || !Array.isArray(blockIds) || !blockIds.every(isId)) {
    throw new Error('expected {"input_length": tokens, "hash_ids": [whole numbers]}')
  }
  return { inputTokens, blockIds: blockIds as number[] }
}

/**
 * Figures of the conversation workload (12,031 requests): Mooncake, FAST'25, and its public trace. A new
 * conversation brings a log-normal number of blocks with median 10 (mean 20.5), a further turn one with
 * median 2 (mean 6.8); 39 % of requests are further turns; all share the first block. Together: 24 blocks a
 * request on average, median 14, and 37 % of all blocks seen before.
 */
const CONVERSATION = {
  furtherTurns: 0.39,
  firstBlocks: { median: 10, sigma: 1.24 },
  nextBlocks: { median: 2, sigma: 1.55 },
  blocksMax: 247,
  /**
   * Longer ones have come to their end; without that the mean would be 27, and 42 % of blocks seen before.
   */
  openBlocksMax: 110,
  /** Turns follow each other soon: one of the last conversations goes on, the newest most likely. */
  openConversations: 400,
} as const

/** An endless, deterministic workload with the statistics of the conversation trace. */
export function* generateConversations(seed = 1): Generator<ReplayRequest> {
  const random = mulberry32(seed)
  const { furtherTurns, firstBlocks, nextBlocks, blocksMax, openBlocksMax, openConversations } = CONVERSATION
  const open: number[][] = []
  let nextId = 1
  const blocks = ({ median, sigma }: { readonly median: number; readonly sigma: number }): number[] => {
    const count = Math.max(1, Math.round(median * Math.exp(sigma * gaussian(random))))
    return Array.from({ length: count }, () => nextId++)
  }
  for (;;) {
    let conversation: number[]
    if (open.length > 0 && random() < furtherTurns) {
      const recency = Math.floor(open.length * random() ** 2)
      const [earlier] = open.splice(open.length - 1 - recency, 1)
      conversation = [...earlier!, ...blocks(nextBlocks)]
    } else conversation = [0, ...blocks(firstBlocks)]
    const blockIds = conversation.slice(0, blocksMax)
    if (blockIds.length < openBlocksMax) open.push(blockIds)
    if (open.length > openConversations) open.shift()
    yield { inputTokens: blockIds.length * TOKENS_PER_BLOCK, blockIds }
  }
}

/**
 * A small random generator with a 32-bit state (Tommy Ettinger's mulberry32): the same workload on every
 * machine.
 */
export function mulberry32(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Box and Muller. */
function gaussian(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
}
