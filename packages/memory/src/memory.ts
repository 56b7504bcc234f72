import { definePlugin, LOGGER, MEMORY } from '@mooncake-ts/core'
import type { CopyPool, MemoryProvider, Region, Startable } from '@mooncake-ts/core'
import { assertCopyThreads, createCopyPool } from './copy-pool.js'
import { assertPlacement, type PlacementOptions } from './options.js'
import { createRegion, wrapBuffer } from './region.js'

export interface MemoryOptions extends PlacementOptions {
  /** Threads of the copy pool, from 1 to 64. @defaultValue 2 */
  readonly copyThreads?: number
}

/** What `createMemory` makes. Regions belong to whoever created them; `close` ends the copy pool only. */
export interface Memory extends MemoryProvider, AsyncDisposable {
  /** Waits for what is in flight and ends the copy threads. Idempotent. */
  close(): Promise<void>
}

/**
 * The memory of an engine, outside of a composition. Inside of one, use the plugin `memory`.
 * @throws ERR_INVALID_PARAMS, ERR_NATIVE_MISSING
 */
export function createMemory(options: MemoryOptions = {}): Memory {
  assertMemoryOptions(options)
  const provider = new HostMemory(options)
  provider.start()
  return provider
}

/**
 * The plugin that provides `MEMORY`.
 * @example createStore({ memory: memory({ hugePages: '2MiB', numaNode: 0 }), … })
 */
export const memory = definePlugin<MemoryProvider, MemoryOptions>({
  name: '@mooncake-ts/memory',
  provides: MEMORY,
  validate: assertMemoryOptions,
  useFactory: (options, scope) => {
    const logger = scope.get(LOGGER)
    return new HostMemory({ onWarning: message => logger.warn(message), ...options })
  },
})

/** @throws ERR_INVALID_PARAMS */
function assertMemoryOptions(options: MemoryOptions): void {
  assertPlacement(options)
  if (options.copyThreads !== undefined) assertCopyThreads(options.copyThreads)
}

class HostMemory implements Memory, Startable {
  readonly #options: MemoryOptions
  #copyPool: CopyPool | undefined

  constructor(options: MemoryOptions) {
    this.#options = options
  }

  /** Made when first asked for: constructing a plugin starts no threads, and works without a binary. */
  get copyPool(): CopyPool {
    this.#copyPool ??= createCopyPool({ threads: this.#options.copyThreads ?? 2 })
    return this.#copyPool
  }

  createRegion({ byteLength, label }: { readonly byteLength: number; readonly label?: string }): Region {
    const { hugePages, numaNode, onWarning } = this.#options
    return createRegion({ byteLength, label, hugePages, numaNode, onWarning })
  }

  wrap(bytes: Uint8Array): Region {
    return wrapBuffer(bytes)
  }

  start(): void {
    void this.copyPool
  }

  stop(): Promise<void> {
    return this.close()
  }

  async close(): Promise<void> {
    await this.#copyPool?.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
