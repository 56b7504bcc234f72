import { container as globalContainer, type DependencyContainer } from 'tsyringe'
import { CLOCK, LOGGER, METRICS, SECURITY } from '../contracts/tokens.js'
import type { Startable } from '../contracts/lifecycle.js'
import { MooncakeError } from '../errors/error.js'
import { systemClock } from '../defaults/clock.js'
import { silentLogger } from '../defaults/logger.js'
import { noMetrics } from '../defaults/metrics.js'
import { startOrder } from './order.js'
import { OPTIONS, PLUGIN_API, type Plugin, type Scope } from './plugin.js'
import type { Token } from './token.js'

type Instance = object & Startable

interface Entry {
  readonly plugin: Plugin
  readonly instance: Instance
  startMs?: number
}

export interface HostOptions {
  /** For each plugin's start. @defaultValue 30 000 */
  readonly startTimeoutMs?: number
}

/** What `Host.explain` tells of one plugin. */
export interface PluginReport {
  readonly name: string
  readonly provides: string
  readonly requires: readonly string[]
  readonly options: object
  /** Absent until it has started. */
  readonly startMs?: number
}

const DEFAULTS: ReadonlyArray<readonly [Token<unknown>, unknown]> = [
  [CLOCK, systemClock],
  [LOGGER, silentLogger],
  [METRICS, noMetrics],
  [SECURITY, { allowInsecure: false }],
]

/**
 * Makes instances of plugins, in the order of what they require, and owns their life: start in order, stop in
 * reverse; a start that fails stops what ran. Each instance has a child container of its own, so its options
 * are seen by nobody else. Only finished instances are registered, never classes or factories: that avoids
 * tsyringe's captive singletons and uncached factories.
 */
export class Host implements AsyncDisposable {
  readonly #container: DependencyContainer = globalContainer.createChildContainer()
  readonly #entries: Entry[] = []
  readonly #startTimeoutMs: number
  /** Those whose `start` was called, in that order. */
  readonly #started: Entry[] = []
  /** Aborts when the host is stopped: what starts then gives up, and nothing starts afterwards. */
  readonly #ended = new AbortController()
  #stopping: Promise<void> | undefined

  /** @throws ERR_PLUGIN_UNMET_REQUIREMENT, ERR_PLUGIN_API_VERSION */
  constructor(plugins: readonly Plugin[], options: HostOptions = {}) {
    this.#startTimeoutMs = options.startTimeoutMs ?? 30_000
    for (const plugin of plugins) assertApi(plugin)
    const provided = new Set<symbol>()
    for (const [token, instance] of DEFAULTS) {
      provided.add(token)
      if (!plugins.some(plugin => (plugin.provides as symbol) === token)) {
        this.#container.registerInstance(token, instance)
      }
    }
    for (const plugin of startOrder(plugins, provided)) {
      const instance = this.#create(plugin)
      this.#entries.push({ plugin, instance })
      this.#container.registerInstance(plugin.provides, instance)
    }
  }

  get<T>(token: Token<T>): T {
    return scopeOf(this.#container).get(token)
  }

  getAll<T>(token: Token<T>): T[] {
    return scopeOf(this.#container).getAll(token)
  }

  /**
   * Call it once.
   *
   * @throws ERR_PLUGIN_START with the plugin's own error as cause; ERR_SHUTTING_DOWN when `stop` was called;
   * the signal's reason when it aborts
   */
  async start(signal?: AbortSignal): Promise<this> {
    if (this.#started.length > 0) throw new TypeError('A Host starts only once')
    const ended = this.#ended.signal
    const either = signal == null ? ended : AbortSignal.any([signal, ended])
    try {
      for (const entry of this.#entries) {
        either.throwIfAborted()
        if (entry.plugin.external === true) continue
        this.#started.push(entry)
        const begun = performance.now()
        await this.#startOne(entry, either)
        entry.startMs = performance.now() - begun
      }
      return this
    } catch (error) {
      // The reason for the failed start matters more than what it broke on the way down.
      await this.stop().catch(() => {})
      throw error
    }
  }

  /**
   * Idempotent: a second call gives the same promise.
   * @throws AggregateError when plugins failed to stop; all were asked
   */
  stop(): Promise<void> {
    if (this.#stopping == null) {
      this.#ended.abort(new MooncakeError('ERR_SHUTTING_DOWN', 'The host was stopped'))
      this.#stopping = this.#stopAll()
    }
    return this.#stopping
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  /** What was composed, in the order of start. */
  explain(): PluginReport[] {
    return this.#entries.map(({ plugin, startMs }) => ({
      name: plugin.name,
      provides: plugin.provides.description?.split('/').at(-1) ?? '',
      requires: plugin.requires.map((token: symbol) => token.description?.split('/').at(-1) ?? ''),
      options: plugin.options,
      ...(startMs == null ? {} : { startMs }),
    }))
  }

  #create(plugin: Plugin): Instance {
    const child = this.#container.createChildContainer()
    child.registerInstance(OPTIONS, plugin.options)
    if (plugin.useFactory != null) return plugin.useFactory(scopeOf(child, plugin.name))
    try {
      return child.resolve<Instance>(plugin.useClass as new (...args: unknown[]) => Instance)
    } catch (cause) {
      // The container's own errors have no code, only these words; what a constructor throws passes as it is.
      const theirs = cause instanceof Error && /^(Cannot inject|TypeInfo not known)/.test(cause.message)
      if (!theirs) throw cause
      throw new MooncakeError('ERR_PLUGIN_UNMET_REQUIREMENT', `${plugin.name}: ${cause.message}`, { cause })
    }
  }

  async #startOne({ plugin, instance }: Entry, signal: AbortSignal): Promise<void> {
    const timeout = new AbortController()
    const timer = setTimeout(() => {
      timeout.abort(
        new MooncakeError(
          'ERR_PLUGIN_START',
          `${plugin.name} did not start within ${this.#startTimeoutMs} ms`,
        ),
      )
    }, this.#startTimeoutMs)
    const either = AbortSignal.any([signal, timeout.signal])
    try {
      await Promise.race([instance.start?.(either), rejectOnAbort(either)])
    } catch (cause) {
      if (either.aborted) throw either.reason // A plugin may have wrapped it, as Node's own functions do.
      const reason = cause instanceof Error ? cause.message : String(cause)
      throw new MooncakeError('ERR_PLUGIN_START', `${plugin.name} failed to start: ${reason}`, { cause })
    } finally {
      clearTimeout(timer)
    }
  }

  async #stopAll(): Promise<void> {
    const errors: unknown[] = []
    for (const { instance } of this.#started.splice(0).reverse()) {
      try {
        await instance.stop?.()
      } catch (error) {
        errors.push(error)
      }
    }
    await this.#container.dispose()
    if (errors.length > 0) throw new AggregateError(errors, 'Some plugins failed to stop')
  }
}

function assertApi(plugin: Plugin): void {
  if (plugin.api === PLUGIN_API) return
  const message = `${plugin.name} was made for plugin API ${plugin.api}, this host has ${PLUGIN_API}`
  throw new MooncakeError('ERR_PLUGIN_API_VERSION', message)
}

/** `asker` is the plugin whose factory asks: what it does not declare in `requires` may come after it. */
function scopeOf(container: DependencyContainer, asker?: string): Scope {
  return {
    get: <T>(token: Token<T>): T => {
      if (container.isRegistered(token, true)) return container.resolve<T>(token)
      const name = token.description ?? 'the token'
      const message =
        asker == null
          ? `No plugin provides ${name}`
          : `${asker} asks for ${name}, which is not there: provide it, and name it in the plugin's requires`
      throw new MooncakeError('ERR_PLUGIN_UNMET_REQUIREMENT', message)
    },
    getAll: <T>(token: Token<T>): T[] =>
      container.isRegistered(token, true) ? container.resolveAll<T>(token) : [],
  }
}

function rejectOnAbort(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const fail = (): void => {
      reject(signal.reason as Error)
    }
    if (signal.aborted) fail()
    else signal.addEventListener('abort', fail, { once: true })
  })
}
