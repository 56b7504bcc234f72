import { Host, MEMORY, type Plugin } from '@mooncake-ts/core'
import { memory } from '@mooncake-ts/memory'

/**
 * A started Host of these plugins, with `memory()` where none of them provides MEMORY. Stop it in the end.
 */
export function testHost(plugins: readonly Plugin[]): Promise<Host> {
  const hasMemory = plugins.some(plugin => (plugin.provides as symbol) === MEMORY)
  return new Host(hasMemory ? plugins : [memory(), ...plugins]).start()
}
