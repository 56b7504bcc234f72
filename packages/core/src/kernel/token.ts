/** A symbol that carries the type of what it names. tsyringe takes it as it is. */
export type Token<T> = symbol & { readonly __type?: T }

/**
 * `Symbol.for`, so that two copies of this package in one process mean the same thing.
 * The number is the major of the contracts.
 */
export function token<T>(name: string): Token<T> {
  return Symbol.for(`@mooncake-ts/core/1/${name}`)
}
