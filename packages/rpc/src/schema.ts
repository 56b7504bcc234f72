import type { Static, TSchema } from '@sinclair/typebox'
import { TypeCompiler, type TypeCheck } from '@sinclair/typebox/compiler'
import { ValueErrorType, type ValueError } from '@sinclair/typebox/errors'
import { MooncakeError, type ErrorCode } from '@mooncake-ts/core'

const compiled = new WeakMap<TSchema, TypeCheck<TSchema>>()

/** Compiling takes up to a millisecond, so it waits for the first value. */
function compile(schema: TSchema): TypeCheck<TSchema> {
  let check = compiled.get(schema)
  if (check == null) {
    check = TypeCompiler.Compile(schema)
    compiled.set(schema, check)
  }
  return check
}

/**
 * What is wrong with a value, as `path: what is wanted`, e.g. `keys/3: expected string`; undefined where
 * nothing is. Fields that the schema does not know are no fault.
 */
export function schemaError(schema: TSchema, value: unknown): string | undefined {
  const check = compile(schema)
  if (check.Check(value)) return undefined
  const error = check.Errors(value).First()
  return error == null ? 'not of the wanted form' : describe(error)
}

/**
 * Gives a value its type.
 *
 * @param what - begins the sentence of the error, e.g. `mooncake.yaml`
 * @throws ERR_INVALID_PARAMS (or `code`) with the path of the first field that does not fit
 */
export function checkSchema<T extends TSchema>(
  schema: T,
  value: unknown,
  what: string,
  code: ErrorCode = 'ERR_INVALID_PARAMS',
): asserts value is Static<T> {
  const error = schemaError(schema, value)
  if (error != null) throw new MooncakeError(code, `${what}: ${error}`)
}

function describe(error: ValueError): string {
  const path = error.path.slice(1)
  const wanted = describeWanted(error)
  return path === '' ? wanted : `${path}: ${wanted}`
}

function describeWanted(error: ValueError): string {
  if (error.type === ValueErrorType.ObjectRequiredProperty) return 'is required'
  const choices: unknown = error.schema['anyOf']
  if (error.type === ValueErrorType.Union && Array.isArray(choices)) {
    const literals = choices.map(choice => (choice as { const?: unknown }).const)
    if (!literals.includes(undefined)) {
      return `expected one of ${literals.map(literal => JSON.stringify(literal)).join(', ')}`
    }
  }
  return error.message.charAt(0).toLowerCase() + error.message.slice(1)
}
