import { Readable } from 'node:stream'
import { setImmediate } from 'node:timers/promises'
import { MooncakeError, type Metrics } from '@mooncake-ts/core'
import type { FastifyInstance } from 'fastify'
import { PAGE_KEYS_MAX } from '../limits.js'
import type { SegmentRecord } from '../membership/node-record.js'
import type { RouteTable } from '../routes/route-table.js'
import type { MasterService } from '../service/master-service.js'

const TEXT = 'text/plain; charset=utf-8'
const QUERY_KEYS_MAX = 1024

/** Registers every path. Their names are the reference system's. */
export function adminPages(http: FastifyInstance, master: MasterService, metrics: Metrics): void {
  statusPages(http, master, metrics)
  keyPages(http, master)
  segmentPages(http, master)
}

function statusPages(http: FastifyInstance, master: MasterService, metrics: Metrics): void {
  http.get('/', (_request, reply) => reply.type(TEXT).send(`${PATHS.join('\n')}\n`))
  http.get('/health', () => ({ status: 'OK', ...master.stats() }))
  http.get('/role', () => ({ role: 'leader' }))
  http.get('/metrics', async (_request, reply) => {
    const { contentType, body } = await metrics.expose()
    return reply.type(contentType).send(body)
  })
  http.get('/metrics/summary', (_request, reply) => reply.type(TEXT).send(`${master.summary()}\n`))
}

function keyPages(http: FastifyInstance, master: MasterService): void {
  http.get('/get_all_keys', (request, reply) => {
    const limit = optional(request.query, 'limit')
    const keysMax = limit == null ? Infinity : Number(limit)
    if (Number.isNaN(keysMax)) throw new MooncakeError('ERR_INVALID_PARAMS', 'limit must be a number')
    return reply.type(TEXT).send(Readable.from(keyLines(master.table, keysMax)))
  })
  http.get('/query_key', request => {
    const key = required(request.query, 'key')
    const route = master.route(key)
    if (route != null) return { key, ...route }
    throw new MooncakeError('ERR_OBJECT_NOT_FOUND', `No healthy node has the key ${key}`)
  })
  http.get('/batch_query_keys', request => {
    const keys = required(request.query, 'keys').split(',')
    if (keys.length > QUERY_KEYS_MAX) {
      throw new MooncakeError('ERR_INVALID_PARAMS', `keys: at most ${QUERY_KEYS_MAX} in one request`)
    }
    const missing = { ok: false, code: 'ERR_OBJECT_NOT_FOUND' }
    const answers = keys.map(key => {
      const route = master.route(key)
      return [key, route == null ? missing : { ok: true, ...route }] as const
    })
    return { success: true, data: Object.fromEntries(answers) }
  })
}

function segmentPages(http: FastifyInstance, master: MasterService): void {
  const describe = (segment: SegmentRecord): object => {
    const { node, number, info } = segment
    const { nodeId, name: nodeName, state } = node
    return { ...info, nodeId, nodeName, state, replicas: master.table.segments.replicaCount(number) }
  }
  http.get('/get_all_segments', (_request, reply) => {
    const names = [...master.members.segments()].map(segment => `${segment.info.name}\n`)
    return reply.type(TEXT).send(names.join(''))
  })
  http.get('/get_segments_detail', () => ({ segments: [...master.members.segments()].map(describe) }))
  http.get('/query_segment', request => {
    const name = required(request.query, 'segment')
    const segment = master.members.segmentByName(name)
    if (segment != null) return describe(segment)
    throw new MooncakeError('ERR_SEGMENT_NOT_FOUND', `No node has a segment ${name}`)
  })
}

const PATHS = [
  '/health',
  '/role',
  '/metrics',
  '/metrics/summary',
  '/get_all_keys[?limit=]',
  '/query_key?key=',
  '/batch_query_keys?keys=a,b',
  '/get_all_segments',
  '/get_segments_detail',
  '/query_segment?segment=',
]

/** One key a line, page by page: millions of them are neither held nor sent at once. */
async function* keyLines(table: RouteTable, keysMax: number): AsyncGenerator<string> {
  let left = keysMax
  let cursor: number | undefined = 0
  while (cursor != null && left > 0) {
    const page: { keys: string[]; cursor?: number } = table.page(cursor, Math.min(left, PAGE_KEYS_MAX), '')
    left -= page.keys.length
    cursor = page.cursor
    if (page.keys.length > 0) yield `${page.keys.join('\n')}\n`
    await setImmediate()
  }
}

function optional(query: unknown, name: string): string | undefined {
  const value = (query as Readonly<Record<string, unknown>>)[name]
  return typeof value === 'string' && value !== '' ? value : undefined
}

function required(query: unknown, name: string): string {
  const value = optional(query, name)
  if (value != null) return value
  throw new MooncakeError('ERR_INVALID_PARAMS', `The query parameter ${name} is missing`)
}
