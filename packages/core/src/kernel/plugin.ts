import type { Token } from './token.js'

/** Major of the contracts that a plugin was made for; `Host` refuses others. */
export const PLUGIN_API = 1

/** What a plugin's factory may ask for. */
export interface Scope {
  /** The one instance. @throws ERR_PLUGIN_UNMET_REQUIREMENT */
  get<T>(token: Token<T>): T
  /** Every instance, in the order of the composition. Empty where nobody provides it. */
  getAll<T>(token: Token<T>): T[]
}

type Constructor<T> = new (...args: never[]) => T

/** An inert, frozen value: nothing happens until a `Host` makes an instance of it. */
export interface Plugin<T extends object = object> {
  readonly name: string
  readonly api: number
  readonly provides: Token<T>
  readonly requires: readonly Token<unknown>[]
  /** Tokens whose providers, where there are any, start first. */
  readonly uses?: readonly Token<unknown>[]
  readonly options: object
  /** Somebody else starts and stops the instance. */
  readonly external?: boolean
  /** How the Host makes the instance; exactly one of the two is set. */
  readonly useClass?: Constructor<T>
  readonly useFactory?: (scope: Scope) => T
}

/** The options of this plugin, for classes that the container constructs: `@inject(OPTIONS) options`. */
export const OPTIONS = Symbol.for(`@mooncake-ts/core/${PLUGIN_API}/PluginOptions`)

export interface PluginDefinition<T extends object, O extends object> {
  /** The package's name. */
  readonly name: string
  readonly provides: Token<T>
  /** Tokens that must be provided, and whose providers start first. */
  readonly requires?: readonly Token<unknown>[]
  /** Tokens that need not be provided, but whose providers start first: `scope.getAll(TOKEN)` finds them. */
  readonly uses?: readonly Token<unknown>[]
  readonly defaults?: Partial<O>
  /**
   * Checks the options when the plugin is made, so that a mistake shows where it was typed.
   * @throws ERR_INVALID_PARAMS
   */
  readonly validate?: (options: O) => void
  /** A class whose constructor parameters all carry an explicit `@inject(TOKEN)`. */
  readonly useClass?: Constructor<T>
  readonly useFactory?: (options: O, scope: Scope) => T
}

type PluginFactory<T extends object, O extends object> = (
  ...args: Record<never, never> extends O ? [options?: O] : [options: O]
) => Plugin<T>

/**
 * Makes the lower-case factory that users call:
 * `export const tcp = definePlugin<Transport, TcpOptions>({ … })`.
 *
 * @example
 * export const dram = definePlugin<Tier, DramOptions>({
 *   name: '@mooncake-ts/tier-dram', provides: TIER, requires: [MEMORY],
 *   useFactory: (options, scope) => new DramTier(options, scope.get(MEMORY)),
 * })
 */
export function definePlugin<T extends object, O extends object = object>(
  definition: PluginDefinition<T, O>,
): PluginFactory<T, O> {
  const { useClass, useFactory } = definition
  if ((useClass == null) === (useFactory == null)) {
    throw new TypeError(`${definition.name}: exactly one of useClass and useFactory is needed`)
  }
  return (...args) => {
    const options = Object.freeze({ ...definition.defaults, ...withoutUndefined(args[0]) }) as O
    definition.validate?.(options)
    return Object.freeze({
      name: definition.name,
      api: PLUGIN_API,
      provides: definition.provides,
      requires: Object.freeze([...(definition.requires ?? [])]),
      uses: Object.freeze([...(definition.uses ?? [])]),
      options,
      ...(useClass == null ? { useFactory: (scope: Scope) => useFactory!(options, scope) } : { useClass }),
    })
  }
}

/** An option that is there but undefined, as parsed flags often are, means its default too. */
function withoutUndefined(options: object = {}): object {
  return Object.fromEntries(Object.entries(options).filter(([, option]) => option !== undefined))
}

/**
 * A plugin around something that exists already: its owner starts and stops it, the Host only hands it out.
 */
export function value<T extends object>(provides: Token<T>, instance: T): Plugin<T> {
  return Object.freeze({
    name: `value of ${provides.description?.split('/').at(-1) ?? 'a token'}`,
    api: PLUGIN_API,
    provides,
    requires: [],
    options: Object.freeze({}),
    external: true,
    useFactory: () => instance,
  })
}
