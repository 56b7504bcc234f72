import { MooncakeError } from '@mooncake-ts/core'
import { Engine } from './engine.js'
import { errnoName } from './errno.js'
import { native, type Native } from './native.js'
import type { IoEngine, IoEngineOptions } from './types.js'

type Kind = 'io_uring' | 'threads'

/**
 * Opens an engine: its rings, its threads, and nothing else. One or two for a process are enough.
 *
 * @throws ERR_NATIVE_MISSING there is no binary for this platform
 * @throws ERR_NOT_SUPPORTED io_uring was asked for, and is refused
 * @throws ERR_INVALID_PARAMS an option is out of range
 * @throws ERR_IO the system has no fds or memory left for it
 */
export function createIoEngine(options: IoEngineOptions = {}): IoEngine {
  const limits: Limits = {
    entries: inRange('entries', options.entries ?? 1024, 1, 32768),
    bulkThreads: inRange('bulkThreads', options.bulkThreads ?? 2, 0, 64),
    fileThreads: inRange('fileThreads', options.fileThreads ?? 4, 1, 64),
  }
  const addon = native()
  const asked = options.engine ?? 'auto'
  const wanted = asked === 'auto' ? engineOfEnvironment() : asked
  if (wanted !== 'auto') return open(addon, wanted, 'asked for', limits)
  try {
    return open(addon, 'io_uring', 'available', limits)
  } catch (error) {
    return open(addon, 'threads', (error as Error).message, limits)
  }
}

interface Limits {
  readonly entries: number
  readonly bulkThreads: number
  readonly fileThreads: number
}

function open(addon: Native, kind: Kind, reason: string, limits: Limits): IoEngine {
  if (kind === 'io_uring') {
    const { call, errno } = addon.probe()
    if (errno !== 0) throw new MooncakeError('ERR_NOT_SUPPORTED', `${call}: ${errnoName(errno)}`)
  }
  return new Engine({
    kind,
    reason,
    bulkThreads: limits.bulkThreads,
    open(completions, onReady) {
      try {
        return new addon.Engine({ uring: kind === 'io_uring', ...limits }, completions, onReady)
      } catch (cause) {
        throw new MooncakeError('ERR_IO', describe(cause), { cause })
      }
    },
  })
}

function engineOfEnvironment(): 'auto' | Kind {
  const value = process.env['MOONCAKE_IO_ENGINE']
  if (value === undefined || value === '') return 'auto'
  if (value === 'auto' || value === 'io_uring' || value === 'threads') return value
  throw new MooncakeError(
    'ERR_INVALID_PARAMS',
    `MOONCAKE_IO_ENGINE is ${value}; it can be auto, io_uring or threads`,
  )
}

function inRange(name: string, value: number, min: number, max: number): number {
  if (Number.isInteger(value) && value >= min && value <= max) return value
  throw new MooncakeError(
    'ERR_INVALID_PARAMS',
    `${name} is ${value}; it can be an integer from ${min} to ${max}`,
  )
}

function describe(cause: unknown): string {
  const { message, errno } = cause as { message: string; errno?: number }
  return errno === undefined ? message : `${message}: ${errnoName(errno)}`
}
