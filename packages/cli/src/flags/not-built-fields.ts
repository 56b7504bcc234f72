import { MooncakeError, parseBytes } from '@mooncake-ts/core'

/**
 * A field of the reference system's JSON that is known but not built. Only the value that it has without
 * being said may be said: a setting that is silently ignored is worse than one that is missing.
 */
export interface NotBuiltField {
  readonly name: string
  /** Sizes may be written in any way. */
  readonly inert: string | number
}

/**
 * @param at the path of the object, for the message
 * @throws ERR_CONFIG with the path of the field
 */
export function refuseNotBuilt(
  object: Readonly<Record<string, unknown>>,
  fields: readonly NotBuiltField[],
  at: string,
): void {
  for (const { name, inert } of fields) {
    const value = object[name]
    if (value === undefined || value === inert || isSameSize(value, inert)) continue
    const only = `only ${JSON.stringify(inert)}, which changes nothing, may be given`
    throw new MooncakeError('ERR_CONFIG', `${at}/${name}: not built yet; ${only}`)
  }
}

function isSameSize(value: unknown, inert: string | number): boolean {
  if (typeof value !== 'string' && typeof value !== 'number') return false
  const bytes = parseBytes(value)
  return bytes != null && bytes === parseBytes(inert)
}
