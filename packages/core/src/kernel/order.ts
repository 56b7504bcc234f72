import { MooncakeError } from '../errors/error.js'
import type { Plugin } from './plugin.js'

/**
 * Every plugin after all providers of what it requires; otherwise in the order given. Providers of one token
 * keep their order in any case, because the order of transports and tiers in a composition is a preference.
 *
 * @throws ERR_PLUGIN_UNMET_REQUIREMENT, also for a circle of requirements
 */
export function startOrder(plugins: readonly Plugin[], provided: ReadonlySet<symbol>): Plugin[] {
  const ordered: Plugin[] = []
  const done = new Set<number>()
  const path: number[] = []
  const providersOf = (token: symbol): number[] =>
    [...plugins.keys()].filter(other => (plugins[other]!.provides as symbol) === token)
  const visit = (position: number): void => {
    if (done.has(position)) return
    if (path.includes(position)) throw circle([...path.slice(path.indexOf(position)), position], plugins)
    path.push(position)
    const plugin = plugins[position]!
    for (const token of plugin.requires as readonly symbol[]) {
      const providers = providersOf(token)
      if (providers.length === 0 && !provided.has(token)) throw unmet(plugin, token)
      providers.forEach(visit)
    }
    for (const token of (plugin.uses ?? []) as readonly symbol[]) providersOf(token).forEach(visit)
    path.pop()
    done.add(position)
    ordered.push(plugin)
  }
  for (const position of plugins.keys()) visit(position)
  return ordered
}

function unmet(plugin: Plugin, token: symbol): MooncakeError {
  const message = `${plugin.name} requires ${token.description ?? 'a token'}, which no plugin provides`
  return new MooncakeError('ERR_PLUGIN_UNMET_REQUIREMENT', message)
}

function circle(path: readonly number[], plugins: readonly Plugin[]): MooncakeError {
  const names = path.map(position => plugins[position]!.name).join(' → ')
  return new MooncakeError(
    'ERR_PLUGIN_UNMET_REQUIREMENT',
    `These plugins require each other in a circle: ${names}`,
  )
}
