/**
 * RpcService over TCP and unix sockets: framed, versioned, authenticated, with deadlines.
 *
 * @packageDocumentation
 */
export { Type, type Static, type TSchema } from '@sinclair/typebox'
export { defineMethod, type MethodSchemas } from './method.js'
export type { RpcOptions } from './options.js'
export { rpc } from './plugin.js'
export { checkSchema, schemaError } from './schema.js'
