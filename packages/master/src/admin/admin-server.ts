import {
  assertMayBind,
  asMooncakeError,
  definePlugin,
  isLoopback,
  LOGGER,
  METRICS,
  MooncakeError,
  SECURITY,
  token,
  type ErrorCode,
  type Logger,
  type Metrics,
  type Security,
  type Startable,
} from '@mooncake-ts/core'
import type { FastifyInstance } from 'fastify'
import { MASTER_SERVICE, type MasterService } from '../service/master-service.js'
import { adminPages } from './pages.js'

export interface AdminOptions {
  /** Port 0 takes any free one. @defaultValue 9003 */
  readonly metricsPort?: number
  /**
   * Beyond loopback only with a cluster secret, or where that is allowed; the pages themselves ask for none.
   * @defaultValue '127.0.0.1'
   */
  readonly metricsHost?: string
}

const STATUS: Partial<Record<ErrorCode, number>> = {
  ERR_INVALID_PARAMS: 400,
  ERR_INVALID_KEY: 400,
  ERR_OBJECT_NOT_FOUND: 404,
  ERR_SEGMENT_NOT_FOUND: 404,
}

/** Where the admin pages are. */
export const ADMIN_SERVER = token<AdminServer>('MasterAdminServer')

interface AdminParts {
  readonly master: MasterService
  readonly metrics: Metrics
  readonly security: Security
  readonly logger: Logger
}

/** The master's pages for people, probes and scrapers. They only read. */
export class AdminServer implements Startable {
  readonly #options: Required<AdminOptions>
  readonly #parts: AdminParts
  #http: FastifyInstance | undefined
  #endpoint = ''

  constructor(options: Required<AdminOptions>, parts: AdminParts) {
    this.#options = options
    this.#parts = parts
  }

  /** `host:port`, after start. */
  get endpoint(): string {
    return this.#endpoint
  }

  /** @throws ERR_INSECURE_BIND, ERR_ADDRESS_IN_USE */
  async start(): Promise<void> {
    const { metricsHost: host, metricsPort: port } = this.#options
    const { security, logger } = this.#parts
    assertMayBind(security, host)
    this.#http = await httpOf(this.#parts)
    try {
      this.#endpoint = new URL(await this.#http.listen({ host, port })).host
    } catch (cause) {
      if ((cause as { code?: unknown }).code !== 'EADDRINUSE') throw cause
      throw new MooncakeError('ERR_ADDRESS_IN_USE', `Port ${port} of ${host} is taken`, { cause })
    }
    if (security.secret == null && isLoopback(host)) {
      logger.info('The admin pages listen on loopback only, for there is no cluster secret', {
        endpoint: this.#endpoint,
      })
    }
  }

  async stop(): Promise<void> {
    await this.#http?.close()
  }
}

/** Fastify is most of what loading a master costs, and clients load this package too: so it comes when it serves. */
async function httpOf({ master, metrics, logger }: AdminParts): Promise<FastifyInstance> {
  const { default: Fastify } = await import('fastify')
  const http = Fastify({ logger: false, forceCloseConnections: true, bodyLimit: 1024 })
  http.setErrorHandler((thrown, _request, reply) => {
    const error = fromHttp(thrown) ?? asMooncakeError(thrown)
    const status = STATUS[error.code] ?? 500
    if (status === 500) logger.error('An admin page failed', { error })
    return reply.code(status).send({ code: error.code, message: error.message })
  })
  http.setNotFoundHandler((request, reply) => {
    const message = `${request.method} ${request.url.split('?')[0]} is no page of the master; see GET /`
    return reply.code(404).send({ code: 'ERR_INVALID_PARAMS', message })
  })
  adminPages(http, master, metrics)
  return http
}

/** Fastify's own complaints about a request. */
function fromHttp(thrown: unknown): MooncakeError | undefined {
  const { statusCode, message } = thrown as { statusCode?: number; message?: string }
  if (statusCode == null || statusCode >= 500) return undefined
  return new MooncakeError('ERR_INVALID_PARAMS', message, { cause: thrown })
}

/** The pages as a plugin; `createMaster` composes it. */
export const adminServer = definePlugin<AdminServer, AdminOptions>({
  name: '@mooncake-ts/master/admin',
  provides: ADMIN_SERVER,
  requires: [MASTER_SERVICE, METRICS, SECURITY, LOGGER],
  defaults: { metricsPort: 9003, metricsHost: '127.0.0.1' },
  useFactory: (options, scope) =>
    new AdminServer(options as Required<AdminOptions>, {
      master: scope.get(MASTER_SERVICE),
      metrics: scope.get(METRICS),
      security: scope.get(SECURITY),
      logger: scope.get(LOGGER).child({ part: 'master-admin' }),
    }),
})
