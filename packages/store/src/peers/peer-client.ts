import type { RpcCallOptions, RpcClient, RpcService } from '@mooncake-ts/core'
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
  type ReadRequest,
  type ReadResultItem,
  type WriteResultItem,
} from './protocol.js'
import type { WriteRequest } from './remote-writer.js'

type OperationRefs = ReadonlyArray<{ readonly key: string; readonly operationId: string }>
type Results<M> = M extends { parseResponse(value: unknown): { results: infer R } } ? R : never

/** What another node does for this one. Made for each use: the RpcService keeps the connections. */
export class PeerClient {
  readonly #client: RpcClient

  constructor(rpc: RpcService, endpoint: string) {
    this.#client = rpc.connect(endpoint)
  }

  get endpoint(): string {
    return this.#client.endpoint
  }

  async readInline(
    request: ReturnType<typeof ReadInline.parseRequest>,
    options: RpcCallOptions<ReturnType<typeof ReadInline.parseResponse>>,
  ): Promise<ReturnType<typeof ReadInline.parseResponse>> {
    return await this.#client.call(ReadInline, request, options)
  }

  async read(request: ReadRequest, options: RpcCallOptions): Promise<ReadResultItem[]> {
    return (await this.#client.call(ReadRemoteData, request, options)).results
  }

  async writeInline(
    request: ReturnType<typeof WriteInline.parseRequest>,
    options: RpcCallOptions,
  ): Promise<ReturnType<typeof WriteInline.parseResponse>> {
    return await this.#client.call(WriteInline, request, options)
  }

  async write(request: WriteRequest, options: RpcCallOptions): Promise<WriteResultItem[]> {
    const { regions, items, ...terms } = request
    const plain = { regions: [...regions], items: [...items], ...terms }
    return (await this.#client.call(WriteRemoteData, plain, options)).results
  }

  async writeLeased(
    { regions, items, ...terms }: WriteRequest & { readonly leasedFor: string },
    options: RpcCallOptions,
  ): Promise<WriteResultItem[]> {
    const request = { regions: [...regions], items: [...items], ...terms }
    return (await this.#client.call(WriteLeased, request, options)).results
  }

  async preWrite(
    request: Omit<WriteRequest, 'regions' | 'items'> & {
      items: ReturnType<typeof PreWrite.parseRequest>['items']
    },
    options: RpcCallOptions,
  ): Promise<Results<typeof PreWrite>> {
    return (await this.#client.call(PreWrite, request, options)).results
  }

  async writeCommit(items: OperationRefs, options: RpcCallOptions): Promise<WriteResultItem[]> {
    return (await this.#client.call(WriteCommit, { items: [...items] }, options)).results
  }

  async writeRevoke(items: OperationRefs, options: RpcCallOptions): Promise<void> {
    await this.#client.call(WriteRevoke, { items: [...items] }, options)
  }

  async pinKeys(
    request: ReturnType<typeof PinKey.parseRequest>,
    options: RpcCallOptions,
  ): Promise<Results<typeof PinKey>> {
    return (await this.#client.call(PinKey, request, options)).results
  }

  /** The code of each that could not be renewed. */
  async renewPins(
    items: OperationRefs,
    options: RpcCallOptions,
  ): Promise<Array<{ readonly code?: string | undefined }>> {
    return (await this.#client.call(RenewPinKey, { items: [...items] }, options)).results
  }

  async unpinKeys(items: OperationRefs, options: RpcCallOptions): Promise<void> {
    await this.#client.call(UnPinKey, { items: [...items] }, options)
  }

  async openPlaces(
    request: ReturnType<typeof OpenPlaces.parseRequest>,
    options: RpcCallOptions,
  ): Promise<ReturnType<typeof OpenPlaces.parseResponse>> {
    return await this.#client.call(OpenPlaces, request, options)
  }

  async countUses(keys: readonly string[], options: RpcCallOptions): Promise<void> {
    await this.#client.call(CountUses, { keys: [...keys] }, options)
  }
}
