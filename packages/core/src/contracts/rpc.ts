/** Takes attached bytes in order, as they arrive. What it is given is valid until it returns. */
export type AttachmentSink = (bytes: Uint8Array) => void

/**
 * Bytes behind a message, neither encoded nor checked: payload that is too small to be worth a round trip of
 * a transport.
 */
export interface IncomingAttachment {
  readonly byteLength: number
  /**
   * Settles when the sink has got every byte; when it rejects the sink is not called any more. May be called
   * once.
   * @throws ERR_RPC_FAIL (the connection ended in the middle), the signal's reason, what the sink throws
   */
  receive(sink: AttachmentSink, signal?: AbortSignal): Promise<void>
}

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
  /**
   * What came with the request. What nobody has received when the handler returns, or when `signal` aborts,
   * is thrown away.
   */
  readonly attachment?: IncomingAttachment | undefined
  /**
   * Sends these bytes with the answer. They belong to the service until it calls `onSent`, which it does
   * once, whatever becomes of the answer.
   */
  attach(bytes: Uint8Array, onSent?: () => void): void
}

/** Bytes in a request are for as long as it is served: who keeps a few of them keeps all that came with them. */
export type RpcHandler<Request, Response> = (
  request: Request,
  context: RpcContext,
) => Promise<Response> | Response

export interface RpcCallOptions<Response = unknown> {
  readonly signal?: AbortSignal
  /** @defaultValue the method's, else 10 000 */
  readonly deadlineMs?: number
  readonly traceId?: string
  /** Goes with the request. It belongs to the client until that calls `onSent`, also after the call. */
  readonly attachment?: Uint8Array
  /** Called once, whatever becomes of the call. */
  readonly onSent?: () => void
  /**
   * Says where the bytes that come with the answer go; without it they are thrown away. The sink is not
   * called any more when the call has settled, for whatever reason (I3). What `sink` throws fails the call.
   */
  readonly sink?: (response: Response, byteLength: number) => AttachmentSink
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
    options?: RpcCallOptions<Response>,
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
