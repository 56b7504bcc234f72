import { defineMethod, Type } from '@mooncake-ts/rpc'

const nothing = Type.Object({})

/** Sends its attachment back. */
export const MIRROR = defineMethod('Test.Mirror', { request: nothing, response: nothing })

/** Is not answered. */
export const NEVER = defineMethod('Test.Never', { request: nothing, response: nothing })
