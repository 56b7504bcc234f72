import { createRequire } from 'node:module'
import { loadAddon } from '@mooncake-ts/core'

/** The numbers of native/core/operation.h. */
export const Opcode = {
  nop: 0,
  recv: 1,
  send: 2,
  read: 3,
  write: 4,
  fsync: 5,
  accept: 6,
  connect: 7,
  allocate: 8,
} as const

export const FLAG_WAIT_ALL = 1
export const FLAG_DATA_ONLY = 2

/** Where `prepare` finds the operation: these five, then the triples (allocate: the length). */
export const Staging = { opcode: 0, fd: 1, flags: 2, fileOffset: 3, pieceCount: 4, vector: 5 } as const

/** What `prepare` answers instead of an index. */
export const Refusal = { outOfBounds: -1, unknownSlot: -2, tooManyOperations: -3, badAddress: -4 } as const

export interface NativeEngine {
  setStaging(staging: Float64Array): void
  prepare(ring: number): number
  prepareConnect(ring: number, fd: number, hostOrPath: string, port: number | undefined): number
  submit(ring: number): void
  cancel(index: number): void
  cancelAll(): void
  drain(): number
  attach(memory: unknown): number
  detach(slot: number): boolean
  stats(): { inFlight: number; submitted: number; completed: number; attachedSlots: number; enters: number }
  setReferenced(referenced: boolean): void
  close(): void
}

export interface NativeEngineOptions {
  uring: boolean
  entries: number
  bulkThreads: number
  fileThreads: number
}

/** Below 0: leave as it is. */
export type NativeSocketOptions = [
  sendBufferBytes: number,
  receiveBufferBytes: number,
  noDelay: number,
  keepAliveSeconds: number,
]

export interface Native {
  readonly abi: number
  probe(): { call: string; errno: number }
  readonly Engine: new (
    options: NativeEngineOptions,
    completions: Float64Array,
    onReady: () => void,
  ) => NativeEngine
  listenSocket(hostOrPath: string, port: number | undefined, backlog: number, reusePort: boolean): number
  createSocket(family: string, ...options: NativeSocketOptions): number
  setSocketOptions(fd: number, ...options: NativeSocketOptions): number
  localPort(fd: number): number
  shutdownSocket(fd: number): number
  closeFd(fd: number): number
  socketPeer(fd: number): string | number
  lockFile(fd: number): number
}

const ABI = 4

let loaded: Native | undefined

/**
 * Loads the addon at first use, so that importing this package never fails.
 * @throws ERR_NATIVE_MISSING, ERR_NATIVE_VERSION_MISMATCH
 */
export function native(): Native {
  loaded ??= loadAddon<Native>({
    moduleUrl: import.meta.url,
    nodeGypBuild: createRequire(import.meta.url)('node-gyp-build') as (packageRoot: string) => unknown,
    packageName: '@mooncake-ts/io-uring',
    versionOf: addon => addon.abi,
    version: ABI,
    needs: 'Linux and a C++20 compiler',
  })
  return loaded
}
