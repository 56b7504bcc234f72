import type { Static, TSchema } from '@sinclair/typebox'
import type { RpcMethod } from '@mooncake-ts/core'
import { checkSchema } from './schema.js'

export interface MethodSchemas<Request extends TSchema, Response extends TSchema> {
  readonly request: Request
  readonly response: Response
  /** Used where the caller names none. @defaultValue 10 000 */
  readonly deadlineMs?: number
}

/**
 * Describes one remote procedure for both of its ends. Unknown fields pass, so a peer one version newer is
 * understood.
 *
 * @example
 * const exists = defineMethod('Directory.Exists', {
 *   request: Type.Object({ keys: Type.Array(Type.String(), { maxItems: 4096 }) }),
 *   response: Type.Object({ found: Type.Array(Type.Boolean()) }),
 * })
 */
export function defineMethod<Request extends TSchema, Response extends TSchema>(
  name: string,
  schemas: MethodSchemas<Request, Response>,
): RpcMethod<Static<Request>, Static<Response>> {
  return Object.freeze({
    name,
    ...(schemas.deadlineMs == null ? {} : { deadlineMs: schemas.deadlineMs }),
    parseRequest(value: unknown): Static<Request> {
      checkSchema(schemas.request, value, `Request of ${name}`)
      return value
    },
    parseResponse(value: unknown): Static<Response> {
      checkSchema(schemas.response, value, `Response of ${name}`)
      return value
    },
  })
}
