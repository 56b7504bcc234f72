import { createRequire } from 'node:module'
import { loadAddon } from '@mooncake-ts/core'

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
  checksumNow(handles: readonly unknown[], descriptors: Float64Array, opCount: number): Uint32Array
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
const BINDING_VERSION = 5

let loaded: Native | undefined

/**
 * Loads the addon at its first use, so that importing this package never fails.
 * @throws ERR_NATIVE_MISSING, ERR_NATIVE_VERSION_MISMATCH
 */
export function native(): Native {
  loaded ??= loadAddon<Native>({
    moduleUrl: import.meta.url,
    nodeGypBuild: createRequire(import.meta.url)('node-gyp-build') as (packageRoot: string) => unknown,
    packageName: '@mooncake-ts/memory',
    versionOf: addon => addon.bindingVersion,
    version: BINDING_VERSION,
    needs: 'Linux and a C++20 compiler',
  })
  return loaded
}
