import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { MooncakeError } from '@mooncake-ts/core'

/** Of libuv. */
export const READABLE = 1
export const WRITABLE = 2

export interface NativeWatcher {
  /** For which of READABLE and WRITABLE to call back. */
  watch(events: number): void
  close(): void
}

/** What native/addon.cc exports. Calls give −errno where they fail. */
export interface Native {
  readonly bindingVersion: number
  listen(path: string, backlog: number, mode: number): number
  connect(path: string): number
  accept(listener: number): number
  send(fd: number, bytes: Uint8Array, descriptor: number): number
  receive(fd: number, bytes: Uint8Array, descriptors: number[]): number
  peerUser(fd: number): number
  close(fd: number): void
  /** Owns the descriptor from then on. */
  readonly Watcher: new (fd: number, onReady: (events: number) => void) => NativeWatcher
}

/** `kBindingVersion` of native/addon.cc. */
const BINDING_VERSION = 1

let loaded: Native | undefined

/**
 * Loads the addon at its first use, so that importing this package never fails.
 * @throws ERR_NATIVE_MISSING, ERR_NATIVE_VERSION_MISMATCH
 */
export function native(): Native {
  loaded ??= load()
  return loaded
}

function load(): Native {
  const packageRoot = join(dirname(fileURLToPath(import.meta.url)), '..')
  const require = createRequire(import.meta.url)
  let addon: Native
  try {
    addon = (require('node-gyp-build') as (directory: string) => Native)(packageRoot)
  } catch (cause) {
    throw new MooncakeError(
      'ERR_NATIVE_MISSING',
      `No binary of @mooncake-ts/transport-shm for ${process.platform}-${process.arch} could be loaded from ` +
        `build/Release and prebuilds in ${packageRoot}. It runs on Linux; build it with \`npm run build:native\`.`,
      { cause },
    )
  }
  if (addon.bindingVersion === BINDING_VERSION) return addon
  throw new MooncakeError(
    'ERR_NATIVE_VERSION_MISMATCH',
    `The binary of @mooncake-ts/transport-shm has version ${addon.bindingVersion}, this code needs ${BINDING_VERSION}.`,
  )
}
