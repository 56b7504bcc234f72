import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { MooncakeError } from '@mooncake-ts/core'

/** Small batches answer at once, large ones by a promise. */
export interface NativeCopyPool {
  copy(
    handles: readonly unknown[],
    descriptors: Float64Array,
    opCount: number,
  ): undefined | Promise<undefined>
  checksum(
    handles: readonly unknown[],
    descriptors: Float64Array,
    opCount: number,
  ): Uint32Array | Promise<Uint32Array>
  /** At once. The slices hold at most `bytes.byteLength` bytes. */
  gather(handles: readonly unknown[], descriptors: Float64Array, opCount: number, bytes: Uint8Array): void
  scatter(handles: readonly unknown[], descriptors: Float64Array, opCount: number, bytes: Uint8Array): void
  stop(): void
}

/** What native/binding exports. It throws Errors whose `code` is one of ours. */
export interface Native {
  readonly bindingVersion: number
  readonly crc32cImplementation: string
  createRegion(
    byteLength: number,
    hugePages: string,
    numaNode: number,
    label: string,
    warnings: string[],
  ): unknown
  mapRegion(fd: number, byteLength: number): unknown
  wrapBuffer(bytes: Uint8Array): unknown
  closeRegion(handle: unknown): void
  prefaultRegion(handle: unknown): Promise<undefined>
  regionFd(handle: unknown): number
  viewRegion(handle: unknown, offset: number, byteLength: number): ArrayBuffer
  detachView(buffer: ArrayBufferLike): void
  crc32c(bytes: Uint8Array, seed: number): number
  stats(): [mappedRegions: number, mappedBytes: number, wrappedRegions: number]
  readonly CopyPool: new (threads: number, inlineBytesMax: number, inflightOpsMax: number) => NativeCopyPool
}

/** `kBindingVersion` of native/binding/addon.cc. */
const BINDING_VERSION = 4

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
    const loadAddon = require('node-gyp-build') as (directory: string) => Native
    addon = loadAddon(packageRoot)
  } catch (cause) {
    const tried = [join(packageRoot, 'build', 'Release'), join(packageRoot, 'prebuilds')].join(' and ')
    throw new MooncakeError(
      'ERR_NATIVE_MISSING',
      `No binary of @mooncake-ts/memory for ${process.platform}-${process.arch} could be loaded from ${tried}. ` +
        'Run `npm run build:native -w @mooncake-ts/memory` to build one; it needs a C++20 compiler.',
      { cause },
    )
  }
  if (addon.bindingVersion !== BINDING_VERSION) {
    throw new MooncakeError(
      'ERR_NATIVE_VERSION_MISMATCH',
      `The binary of @mooncake-ts/memory has version ${addon.bindingVersion}, this code needs ${BINDING_VERSION}.`,
    )
  }
  return addon
}
