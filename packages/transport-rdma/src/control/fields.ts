import { MooncakeError } from '@mooncake-ts/core'
import type { Message } from './connection.js'

/** @throws ERR_PROTOCOL */
export function textOf(message: Message, name: string, charactersMax = 256): string {
  const value = message[name]
  if (typeof value === 'string' && value.length <= charactersMax) return value
  throw malformed(name, `a text of at most ${charactersMax} characters`)
}

/** @throws ERR_PROTOCOL */
export function integerOf(message: Message, name: string, max: number = Number.MAX_SAFE_INTEGER): number {
  const value = message[name]
  if (Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= max)
    return value as number
  throw malformed(name, `an integer from 0 to ${max}`)
}

/** @throws ERR_PROTOCOL */
export function bytesOf(message: Message, name: string, bytesMax = 1024): Buffer {
  const bytes = Buffer.from(textOf(message, name, bytesMax * 2), 'base64')
  if (bytes.byteLength <= bytesMax) return bytes
  throw malformed(name, `at most ${bytesMax} bytes`)
}

function malformed(name: string, wanted: string): MooncakeError {
  return new MooncakeError('ERR_PROTOCOL', `The peer sent a message whose ${name} is not ${wanted}`)
}
