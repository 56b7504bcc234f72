import { MooncakeError, type RpcHandler, type RpcMethod } from '@mooncake-ts/core'

export interface Registration {
  readonly method: RpcMethod<unknown, unknown>
  readonly handler: RpcHandler<unknown, unknown>
}

/** Which methods this process serves. */
export class HandlerRegistry {
  readonly #registrations = new Map<string, Registration>()

  /** @throws ERR_RPC_METHOD_TAKEN */
  add<Request, Response>(
    method: RpcMethod<Request, Response>,
    handler: RpcHandler<Request, Response>,
  ): Disposable {
    const { name } = method
    if (this.#registrations.has(name)) {
      throw new MooncakeError('ERR_RPC_METHOD_TAKEN', `${name} has a handler already`)
    }
    const registration = { method, handler } as unknown as Registration
    this.#registrations.set(name, registration)
    return {
      [Symbol.dispose]: () => {
        if (this.#registrations.get(name) === registration) this.#registrations.delete(name)
      },
    }
  }

  get(name: string): Registration | undefined {
    return this.#registrations.get(name)
  }
}
