import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import {
  generateConversations,
  readTrace,
  TOKENS_PER_BLOCK,
  type ReplayRequest,
} from '../dist/replay/workload.js'

/** As many as the published trace has. */
const REQUESTS = 12_031

function generate(count: number, seed?: number): ReplayRequest[] {
  const generator = generateConversations(seed)
  return Array.from({ length: count }, () => generator.next().value as ReplayRequest)
}

describe('generateConversations', () => {
  it('is the same everywhere, for each seed', () => {
    expect(generate(50)).to.deep.equal(generate(50))
    expect(generate(50, 2)).not.to.deep.equal(generate(50))
    expect(generate(3).map(request => request.blockIds.length)).to.deep.equal(
      generate(3, 1).map(request => request.blockIds.length),
    )
  })

  it('has the published statistics of the conversation trace', () => {
    const requests = generate(REQUESTS)
    const lengths = requests.map(request => request.blockIds.length).sort((a, b) => a - b)
    const blocks = lengths.reduce((sum, length) => sum + length, 0)
    const seen = new Set<number>()
    let leadingHits = 0
    for (const { blockIds } of requests) {
      const firstNew = blockIds.findIndex(id => !seen.has(id))
      leadingHits += firstNew < 0 ? blockIds.length : firstNew
      for (const id of blockIds) seen.add(id)
    }
    expect(blocks / REQUESTS, 'blocks of a request, on average').to.be.within(23, 25.5)
    expect(lengths[REQUESTS >> 1], 'the median').to.be.within(13, 15)
    expect(lengths.at(-1), 'the longest').to.equal(247)
    expect(1 - seen.size / blocks, 'blocks seen before').to.be.within(0.34, 0.4)
    expect(leadingHits / blocks, 'leading blocks seen before').to.be.within(0.34, 0.4)
  })

  it('makes prefixes: equal ids follow equal ids', () => {
    const before = new Map<number, number | undefined>()
    for (const { blockIds, inputTokens } of generate(2000)) {
      expect(inputTokens).to.equal(blockIds.length * TOKENS_PER_BLOCK)
      blockIds.forEach((id, index) => {
        const previous = blockIds[index - 1]
        if (before.has(id)) expect(before.get(id), `before block ${id}`).to.equal(previous)
        before.set(id, previous)
      })
    }
  })
})

describe('readTrace', () => {
  let dir: string
  before(() => {
    dir = mkdtempSync(join(tmpdir(), 'mooncake-trace-'))
  })
  after(() => {
    rmSync(dir, { recursive: true })
  })

  async function read(content: string | Uint8Array): Promise<ReplayRequest[]> {
    const path = join(dir, 'trace.jsonl')
    writeFileSync(path, content)
    const requests: ReplayRequest[] = []
    for await (const request of readTrace(path)) requests.push(request)
    return requests
  }

  async function failure(content: string): Promise<string> {
    try {
      await read(content)
    } catch (error) {
      expect(error).to.have.property('code', 'ERR_CONFIG')
      return (error as Error).message
    }
    return 'no error'
  }

  it('reads lines in the form of the published traces; empty lines and CRLF do not matter', async () => {
    const lines =
      '{"timestamp": 0, "input_length": 900, "output_length": 5, "hash_ids": [0, 7]}\r\n\r\n{"input_length":1,"hash_ids":[]}'
    expect(await read(lines)).to.deep.equal([
      { inputTokens: 900, blockIds: [0, 7] },
      { inputTokens: 1, blockIds: [] },
    ])
    expect(await read('')).to.deep.equal([])
  })

  it('names the line that it does not understand', async () => {
    const good = '{"input_length": 1, "hash_ids": [1]}\n'
    for (const bad of [
      '{',
      'null',
      '7',
      '[]',
      '{"hash_ids": [1]}',
      '{"input_length": 1}',
      '{"input_length": 1, "hash_ids": ["1"]}',
    ]) {
      expect(await failure(`${good}\n${bad}\n${good}`), bad).to.match(/^--trace: .*trace\.jsonl:3: /)
    }
  })

  it('says that there is no such file', async () => {
    const trace = readTrace(join(dir, 'missing'))
    const error: unknown = await trace.next().catch((cause: unknown) => cause)
    expect(error).to.have.property('code', 'ERR_CONFIG')
    expect((error as Error).message).to.match(/^--trace: .*missing: ENOENT/)
  })
})
