import { createRequire } from 'node:module'
import { loadAddon } from '@mooncake-ts/core'

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
  loaded ??= loadAddon<Native>({
    moduleUrl: import.meta.url,
    nodeGypBuild: createRequire(import.meta.url)('node-gyp-build') as (packageRoot: string) => unknown,
    packageName: '@mooncake-ts/transport-shm',
    versionOf: addon => addon.bindingVersion,
    version: BINDING_VERSION,
    needs: 'Linux and a C++20 compiler',
  })
  return loaded
}
