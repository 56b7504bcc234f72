import type { RpcContext, RpcMethod, RpcService } from '@mooncake-ts/core'
import type { TieredBackend } from '../local/tiered-backend.js'
import type { Places } from '../near/places.js'
import type { ForwardSessions } from './forward-sessions.js'
import type { InlineReader } from './inline-reader.js'
import type { InlineWriter } from './inline-writer.js'
import {
  CountUses,
  OpenPlaces,
  PinKey,
  PreWrite,
  ReadInline,
  ReadRemoteData,
  RenewPinKey,
  UnPinKey,
  WriteCommit,
  WriteInline,
  WriteLeased,
  WriteRemoteData,
  WriteRevoke,
} from './protocol.js'
import type { RemoteReader } from './remote-reader.js'
import type { RemoteWriter } from './remote-writer.js'
import type { Unannounced } from './unannounced.js'

/**
 * What a node does with its objects on behalf of others (the reference system's DataManager), in both
 * directions of moving bytes.
 */
export interface DataManager {
  readonly reader: RemoteReader
  readonly inlineReader: InlineReader
  readonly writer: RemoteWriter
  readonly inlineWriter: InlineWriter
  readonly sessions: ForwardSessions
  readonly unannounced: Unannounced
  readonly places: Places
  readonly backend: TieredBackend
}

/** The methods that other nodes call on this one. Thin on purpose: what they do is the DataManager's. */
export class ClientRpcService {
  readonly #handlers: Disposable[] = []

  constructor(
    rpc: RpcService,
    { reader, inlineReader, writer, inlineWriter, sessions, unannounced, places, backend }: DataManager,
  ) {
    const serve = <Request, Result>(
      method: RpcMethod<Request, { results: Result[] }>,
      handler: (request: Request, signal: AbortSignal) => Promise<Result[]> | Result[],
    ): void => {
      const handle = async (request: Request, { signal }: RpcContext) => ({
        results: await handler(request, signal),
      })
      this.#handlers.push(rpc.handle(method, handle))
    }
    this.#handlers.push(
      rpc.handle(ReadInline, (request, context) => {
        const read = () =>
          inlineReader.serve(request, (bytes, onSent) => {
            context.attach(bytes, onSent)
          })
        // The signal is only made when somebody asks for it.
        const waits = request.keys.some(key => unannounced.has(key))
        return waits ? unannounced.whenAnswered(itemsOf(request.keys), read, context.signal) : read()
      }),
    )
    serve(ReadRemoteData, (request, signal) =>
      unannounced.whenAnswered(request.items, () => reader.serve(request, signal), signal),
    )
    this.#handlers.push(rpc.handle(WriteInline, (request, context) => inlineWriter.serve(request, context)))
    serve(WriteRemoteData, (request, signal) => writer.serve({ ...request, leasedFor: undefined }, signal))
    serve(WriteLeased, (request, signal) => writer.serve(request, signal))
    serve(PreWrite, ({ items, ...terms }, signal) => sessions.preWrite(items, terms, signal))
    serve(WriteCommit, ({ items }) => sessions.writeCommit(items))
    serve(WriteRevoke, ({ items }) => sessions.writeRevoke(items))
    serve(PinKey, ({ keys, schemes, letGo = [] }, signal) => {
      sessions.letGo(letGo)
      return unannounced.whenAnswered(itemsOf(keys), () => sessions.pinKeys(keys, schemes), signal)
    })
    serve(RenewPinKey, ({ items }) => sessions.renewPins(items))
    this.#handlers.push(
      rpc.handle(OpenPlaces, async ({ isNeighbour, pins }, { signal }) => {
        const opened = places.open(isNeighbour)
        const pinLeaseMs = pins == null ? undefined : await places.openPins(pins, signal)
        return pinLeaseMs == null ? opened : { ...opened, pinLeaseMs }
      }),
      rpc.handle(CountUses, ({ keys }) => {
        for (const key of keys) backend.used(key)
        return {}
      }),
    )
    serve(UnPinKey, ({ items }) => sessions.unpinKeys(items))
  }

  stop(): void {
    for (const handler of this.#handlers.splice(0)) handler[Symbol.dispose]()
  }
}

function itemsOf(keys: readonly string[]): Array<{ readonly key: string }> {
  return keys.map(key => ({ key }))
}
