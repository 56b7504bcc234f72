import { MooncakeError } from '../errors/error.js'
import type { Plugin } from './plugin.js'

/**
 * Every plugin after all providers of what it requires; otherwise in the order given, because the order of transports and
 * tiers in a composition is a preference.
 *
 * @throws ERR_PLUGIN_UNMET_REQUIREMENT, also for a circle of requirements
 */
export function startOrder(plugins: readonly Plugin[], provided: ReadonlySet<symbol>): Plugin[] {
  const waiting = [...plugins]
  const ordered: Plugin[] = []
  const have = new Set(provided)
  while (waiting.length > 0) {
    const pending = new Set<symbol>(waiting.map(plugin => plugin.provides))
    const next = waiting.findIndex(plugin =>
      plugin.requires.every((token: symbol) => !pending.has(token) && have.has(token)),
    )
    if (next < 0) throw unmet(waiting, pending)
    const [plugin] = waiting.splice(next, 1)
    have.add(plugin!.provides)
    ordered.push(plugin!)
  }
  return ordered
}

function unmet(waiting: readonly Plugin[], pending: ReadonlySet<symbol>): MooncakeError {
  for (const plugin of waiting) {
    const missing = plugin.requires.find((token: symbol) => !pending.has(token))
    if (missing == null) continue
    const name = (missing as symbol).description ?? 'a token'
    return new MooncakeError(
      'ERR_PLUGIN_UNMET_REQUIREMENT',
      `${plugin.name} requires ${name}, which no plugin provides`,
    )
  }
  const circle = waiting.map(plugin => plugin.name).join(', ')
  return new MooncakeError(
    'ERR_PLUGIN_UNMET_REQUIREMENT',
    `These plugins require each other in a circle: ${circle}`,
  )
}
