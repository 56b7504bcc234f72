/**
 * What the compiler must refuse. Every `@ts-expect-error` is a test: the build fails when its line compiles.
 * Nothing here runs.
 */
import {
  definePlugin,
  Host,
  TIER,
  token,
  type Transfer,
  TRANSPORT,
  value,
  type ErrorCode,
  type Plugin,
  type Tier,
  type Token,
  type Transport,
} from '@mooncake-ts/core'

interface Lamp {
  readonly watts: number
}

const LAMP = token<Lamp>('types/Lamp')

// Options may be left out only where every one of them may.
const required = definePlugin<Lamp, { watts: number }>({
  name: 'required',
  provides: LAMP,
  useFactory: options => ({ watts: options.watts }),
})
const optional = definePlugin<Lamp, { watts?: number }>({
  name: 'optional',
  provides: LAMP,
  useFactory: options => ({ watts: options.watts ?? 60 }),
})
const none = definePlugin<Lamp>({ name: 'none', provides: LAMP, useFactory: () => ({ watts: 60 }) })

export const plugins: Plugin[] = [
  required({ watts: 60 }),
  optional(),
  optional({}),
  optional({ watts: 1 }),
  none(),
]

// @ts-expect-error: watts is missing
required()
// @ts-expect-error: watts is missing
required({})
// @ts-expect-error: watts is a number
required({ watts: '60' })
// @ts-expect-error: no such option
optional({ colour: 'red' })

// What a plugin makes is what it says that it provides.
definePlugin<Lamp>({
  name: 'dark',
  provides: LAMP,
  // @ts-expect-error: a Lamp has watts
  useFactory: () => ({}),
})
definePlugin<Lamp>({
  name: 'wrong token',
  // @ts-expect-error: this token stands for a Tier
  provides: TIER,
  useFactory: () => ({ watts: 1 }),
})
definePlugin<Lamp, { watts: number }>({
  name: 'defaults',
  provides: LAMP,
  // @ts-expect-error: a default has the type of its option
  defaults: { watts: 'many' },
  useFactory: options => options,
})
class Candle {
  readonly flame = true
}
definePlugin<Lamp>({
  name: 'candle',
  provides: LAMP,
  // @ts-expect-error: a Candle is not a Lamp
  useClass: Candle,
})
// @ts-expect-error: a Lamp has watts
value(LAMP, {})

// Tokens carry their types through.
const host = new Host([])
export const tier: Tier = host.get(TIER)
export const transports: Transport[] = host.getAll(TRANSPORT)
// @ts-expect-error: a Tier is not a Transport
export const mixed: Transport = host.get(TIER)
// @ts-expect-error: the token of a Tier is not that of a Transport
export const swapped: Token<Transport> = TIER
// @ts-expect-error: nor is the token of a Tier that of a Lamp
export const untyped: Token<Lamp> = token<Tier>('types/Tier')

// Plugins are values, frozen.
// @ts-expect-error: readonly
none().name = 'other'

// Error codes are a closed set.
export const known: ErrorCode = 'ERR_INTERNAL'
// @ts-expect-error: not in the registry
export const unknown: ErrorCode = 'ERR_NO_SUCH_CODE'

// A Transfer is not a thenable: an async function that returned it would swallow it.
export async function pass(transfer: Transfer): Promise<Transfer> {
  return transfer
}
// @ts-expect-error: no then
export type Then = Transfer['then']
