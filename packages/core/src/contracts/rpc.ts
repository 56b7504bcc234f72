/** One remote procedure: its name and how its two messages are checked at the edge, once. */
export interface RpcMethod<Request, Response> {
  /** `Service.Method`, e.g. `Directory.Exists`. */
  readonly name: string
  /** Used where the caller names none. */
  readonly deadlineMs?: number
  /** Gives the message its type. @throws ERR_INVALID_PARAMS with the path of the field */
  parseRequest(value: unknown): Request
  parseResponse(value: unknown): Response
}

export interface RpcContext {
  /** Aborted when the caller cancelled, its deadline passed or its connection ended. */
  readonly signal: AbortSignal
  /** Address of the peer, for logs. */
  readonly peer: string
  /** What is left of the caller's deadline when the request arrived. */
  readonly deadlineMs: number
  readonly traceId: string
}

export type RpcHandler<Request, Response> = (
  request: Request,
  context: RpcContext,
) => Promise<Response> | Response

export interface RpcCallOptions {
  readonly signal?: AbortSignal
  /** @defaultValue the method's, else 10 000 */
  readonly deadlineMs?: number
  readonly traceId?: string
}

/**
 * A pool of connections to one endpoint: `host:port` or `unix:/path`. Reconnects by itself, with back-off.
 */
export interface RpcClient {
  readonly endpoint: string
  /**
   * @throws ERR_RPC_TIMEOUT, ERR_RPC_FAIL (connection refused or lost; retryable), ERR_UNAUTHENTICATED,
   * ERR_RPC_METHOD_UNKNOWN, or the code that the handler threw
   */
  call<Request, Response>(
    method: RpcMethod<Request, Response>,
    request: Request,
    options?: RpcCallOptions,
  ): Promise<Response>
}

export interface RpcService {
  /** Where this service listens, after start; empty for a service that only calls. */
  readonly endpoints: readonly string[]
  /** @throws ERR_RPC_METHOD_TAKEN when the name has a handler */
  handle<Request, Response>(
    method: RpcMethod<Request, Response>,
    handler: RpcHandler<Request, Response>,
  ): Disposable
  /** The same pool for the same endpoint. */
  connect(endpoint: string): RpcClient
}
