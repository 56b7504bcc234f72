import { createServer, type Server } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import {
  assertMayBind,
  isLoopback,
  MooncakeError,
  type Logger,
  type Metrics,
  type Security,
} from '@mooncake-ts/core'
import { hostOf } from '../flags/common.js'
import type { Settings } from '../flags/load.js'

export interface MetricsServer extends AsyncDisposable {
  /** host:port; absent where none was asked for. */
  readonly endpoint?: string
}

/**
 * `/health` and `/metrics` of a node, where `--enable_http_server` asks for them.
 * @throws ERR_ADDRESS_IN_USE, ERR_INSECURE_BIND
 */
export async function serveMetrics(
  settings: Settings,
  security: Security,
  metrics: Metrics,
  logger: Logger,
): Promise<MetricsServer> {
  if (settings.enable_http_server !== true) return { [Symbol.asyncDispose]: () => Promise.resolve() }
  const host = hostOf(settings, security)
  const port = Number(settings.http_port)
  assertMayBind(security, host)
  const server = createServer((request, response) => {
    answer(request.url ?? '/', metrics).then(
      ({ status, contentType, body }) =>
        response.writeHead(status, { 'content-type': contentType }).end(body),
      (error: unknown) => {
        logger.error('A metrics request failed', { error })
        response.writeHead(500).end()
      },
    )
  })
  await listen(server, host, port)
  const endpoint = `${host}:${(server.address() as AddressInfo).port}`
  const reach =
    security.secret == null && isLoopback(host) ? ', on loopback only, for there is no cluster secret' : ''
  logger.info(`Metrics on http://${endpoint}/metrics${reach}`)
  return {
    endpoint,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

async function answer(
  url: string,
  metrics: Metrics,
): Promise<{ status: number; contentType: string; body: string }> {
  const path = url.split('?')[0]
  if (path === '/health') return { status: 200, contentType: 'application/json', body: '{"status":"ok"}\n' }
  if (path === '/metrics') return { status: 200, ...(await metrics.expose()) }
  return { status: 404, contentType: 'text/plain', body: 'Here are /health and /metrics.\n' }
}

async function listen(server: Server, host: string, port: number): Promise<void> {
  server.listen(port, host)
  try {
    await once(server, 'listening')
  } catch (cause) {
    const taken = (cause as NodeJS.ErrnoException).code === 'EADDRINUSE'
    const message = `--http_port: cannot listen on ${host}:${port}: ${(cause as Error).message}`
    throw new MooncakeError(taken ? 'ERR_ADDRESS_IN_USE' : 'ERR_IO', message, { cause })
  }
}
