import { createRequire } from 'node:module'
import { loadAddon } from '@mooncake-ts/core'

/** `kDevicesMax` of native/core/window_table.h: places in the keys of a window. */
export const DEVICES_MAX = 8

export const KIND_READ = 0
export const KIND_WRITE = 1

export const ACCESS_READ = 1
export const ACCESS_WRITE = 2

/** One operation of `submit`, as doubles: the fields of native/device_binding.cc. */
export const Order = {
  id: 0,
  endpoint: 1,
  kind: 2,
  registration: 3,
  localOffset: 4,
  byteLength: 5,
  remoteOffset: 6,
  wholeOffset: 7,
  wholeBytes: 8,
  slot: 9,
  token: 10,
  fields: 14,
} as const

/** `EventKind` of native/core/outbox.h. */
export const EventKind = {
  registered: 0,
  created: 1,
  connected: 2,
  broken: 3,
  closed: 4,
  async: 5,
} as const

export interface NativeEvent {
  readonly kind: number
  /** Registration, endpoint, or the type of an asynchronous event. */
  readonly subject: number
  /** errno, or a work completion's status. */
  readonly status: number
  readonly rkey: number
  readonly numaNode: number
  readonly text: string
  readonly bytes: Uint8Array
}

export interface NativeTable {
  /** The index; -1: the table is full, -2: no such range. */
  add(token: Uint8Array, region: unknown, offset: number, byteLength: number, access: number): number
  publish(index: number, rkeys: Uint32Array): void
  shut(index: number): void
  remove(index: number): void
  inUse(): number
}

export interface NativePort {
  readonly errno: number
  readonly active: boolean
  readonly ethernet: boolean
  readonly mtu: number
  readonly gidIndex: number
  readonly gid: Uint8Array
  readonly numaNode: number
}

/** What a device has of this process: for tests that look for leaks. */
export interface DeviceStats {
  readonly memoryRegions: number
  readonly queuePairs: number
  readonly endpoints: number
  readonly operations: number
  readonly postedCalls: number
  readonly sleeps: number
}

export interface NativeDevice {
  describe(): NativePort
  registerMemory(id: number, region: unknown, offset: number, byteLength: number): boolean
  deregister(id: number): void
  createEndpoint(id: number, queuePairs: number, depth: number): void
  connectEndpoint(id: number, remote: Uint8Array): boolean
  closeEndpoint(id: number): void
  forgetEndpoint(id: number): void
  submit(fields: Float64Array, count: number): void
  cancel(operations: Float64Array): void
  /** Completions as pairs of id and status, and events. */
  take(): [completions: Float64Array, events: NativeEvent[]]
  stats(): DeviceStats
  setReferenced(referenced: boolean): void
  close(): void
}

export interface NativeMessageDevice {
  describe(): NativePort
  create(id: number): void
  /** False for what is no description of a peer. */
  connect(id: number, peer: Uint8Array, first: boolean): boolean
  /** How many bytes were taken; where not all, there is news when there is room. */
  write(id: number, bytes: Uint8Array, offset: number): number
  /** Where 0, there is news when something has come. */
  readableBytes(id: number): number
  read(id: number, bytes: Uint8Array): number
  /** After what was written. */
  finish(id: number): void
  /** The peer has finished: after this nothing more comes than `readableBytes` says. */
  ended(id: number): boolean
  /** The peer has received that this end has finished. */
  finished(id: number): boolean
  closeStream(id: number): void
  forget(id: number): void
  /** Streams with something new, and events. */
  take(): [streams: Float64Array, events: NativeEvent[]]
  stats(): MessageStats
  setReferenced(referenced: boolean): void
  close(): void
}

/** What a device has of the streams of this process: for tests that look for leaks. */
export interface MessageStats {
  readonly memoryRegions: number
  readonly queuePairs: number
  readonly streams: number
}

export interface NativeStreamOptions {
  readonly slots: number
  readonly slotBytes: number
  readonly sendBytes: number
}

export interface NativeDeviceOptions {
  readonly name: string
  readonly port: number
  readonly number: number
  readonly gidIndex: number
  readonly mtu: number
  readonly queueDepth: number
  readonly completionsMax: number
  readonly inlineBytesMax: number
  readonly sliceBytes: number
  readonly ackTimeout: number
  readonly packetRetries: number
  readonly serviceLevel: number
  readonly trafficClass: number
  readonly pkeyIndex: number
  readonly relaxedOrdering: boolean
  readonly spinNsMax: number
}

export interface Native {
  readonly abi: number
  /** `problem` where the library is missing, `errno` where the kernel has no RDMA. */
  probe(): { readonly problem: string; readonly errno: number; readonly devices: readonly string[] }
  chooseGid(entries: ReadonlyArray<readonly [index: number, gid: Uint8Array, roceV2: boolean]>): number
  isOwned(region: unknown): boolean
  readonly WindowTable: new (slots: number) => NativeTable
  readonly Device: new (options: NativeDeviceOptions, table: NativeTable, onNews: () => void) => NativeDevice
  readonly MessageDevice: new (
    options: NativeDeviceOptions,
    streams: NativeStreamOptions,
    onNews: () => void,
  ) => NativeMessageDevice
}

const ABI = 2

let loaded: Native | undefined

/**
 * Loads the addon at first use, so that importing this package never fails.
 * @throws ERR_NATIVE_MISSING, ERR_NATIVE_VERSION_MISMATCH
 */
export function native(): Native {
  loaded ??= loadAddon<Native>({
    moduleUrl: import.meta.url,
    nodeGypBuild: createRequire(import.meta.url)('node-gyp-build') as (packageRoot: string) => unknown,
    packageName: '@mooncake-ts/transport-rdma',
    versionOf: addon => addon.abi,
    version: ABI,
    needs: 'Linux, a C++20 compiler and libibverbs-dev (headers only)',
  })
  return loaded
}
