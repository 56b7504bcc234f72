import {
  type GenerationClock,
  hasCode,
  type Directory,
  type Logger,
  type ReadRoute,
  type WriteRoute,
  type WriteRouteRequest,
} from '@mooncake-ts/core'
import type { Novelty } from './novelty.js'
import type { RouteCache } from './route-cache.js'
import type { Suspects } from './suspects.js'
import type { WriteLeases } from './write-leases.js'

/**
 * Finds owners and candidates: from the cache, else from the directory; and from what is left of both while
 * the directory is away.
 */
export class Router {
  readonly suspects: Suspects
  readonly leases: WriteLeases
  readonly novelty: Novelty
  readonly #directory: Directory
  readonly #cache: RouteCache
  readonly #generations: GenerationClock
  readonly #log: Logger
  /** Where writes went last, for as long as nobody can say better. */
  #lastCandidates: WriteRoute['candidates'] = []

  constructor(init: {
    readonly directory: Directory
    readonly cache: RouteCache
    readonly generations: GenerationClock
    readonly suspects: Suspects
    readonly leases: WriteLeases
    readonly novelty: Novelty
    readonly logger: Logger
  }) {
    this.#directory = init.directory
    this.#cache = init.cache
    this.#generations = init.generations
    this.suspects = init.suspects
    this.leases = init.leases
    this.novelty = init.novelty
    this.#log = init.logger
  }

  get away(): boolean {
    return this.#directory.state === 'away'
  }

  cached(key: string): ReadRoute | undefined {
    return this.#cache.get(key, this.away)
  }

  /**
   * The cached route, if any of its nodes may answer: one that has failed lately is perhaps back under another
   * address, which the directory knows.
   */
  promising(key: string): ReadRoute | undefined {
    const route = this.cached(key)
    const isDoubtful = route?.replicas.every(({ nodeId }) => this.suspects.has(nodeId)) === true
    return isDoubtful && !this.away ? undefined : route
  }

  /** Asks the directory and remembers the answer. @throws ERR_MASTER_UNAVAILABLE */
  async lookUp(keys: readonly string[], signal: AbortSignal): Promise<Array<ReadRoute | undefined>> {
    const routes = await this.#directory.readRoutes(keys, signal)
    routes.forEach((route, index) => {
      if (route == null) return
      this.#generations.observe(route.generation)
      this.#cache.set(keys[index]!, route)
    })
    return routes
  }

  async candidates(requests: readonly WriteRouteRequest[], signal: AbortSignal): Promise<WriteRoute[]> {
    try {
      const routes = await this.#directory.writeRoutes(requests, signal)
      for (const { existing, candidates } of routes) {
        if (existing != null) this.#generations.observe(existing.generation)
        if (candidates.length > 0) this.#lastCandidates = candidates
      }
      return routes
    } catch (error) {
      if (!hasCode(error, 'ERR_MASTER_UNAVAILABLE')) throw error
      const first = this.#generations.take(requests.length)
      return requests.map(({ key }, index) => {
        const existing = this.#cache.get(key, true)
        const generation = first + index
        return { candidates: this.#lastCandidates, generation, ...(existing == null ? {} : { existing }) }
      })
    }
  }

  learn(key: string, route: ReadRoute): void {
    this.#cache.set(key, route)
  }

  /** Unless nothing better is to be had just now. */
  forget(key: string): void {
    if (!this.away) this.#cache.delete(key)
  }

  forgetAll(): void {
    this.#cache.clear()
  }

  /** These nodes do not have what the directory thinks they have. */
  reportStale(routes: Parameters<Directory['reportStale']>[0]): void {
    for (const { key } of routes) this.#cache.delete(key)
    this.#directory.reportStale(routes).catch((error: unknown) => {
      this.#log.debug('Stale routes could not be reported', { error, count: routes.length })
    })
  }
}
