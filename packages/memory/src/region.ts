import { constants } from 'node:buffer'
import { threadId } from 'node:worker_threads'
import { asMooncakeError, assertSlice, MooncakeError, type Region } from '@mooncake-ts/core'
import { native } from './native.js'
import { assertInteger, assertPlacement, emitWarning, type PlacementOptions } from './options.js'

export interface CreateRegionOptions extends PlacementOptions {
  readonly byteLength: number
  /** Shown in `/proc/<pid>/maps` as `mooncake:<label>`. @defaultValue 'region' */
  readonly label?: string
}

/** A Region in the memory of this host. */
export interface HostRegion extends Region, Disposable {
  /**
   * Of the memfd behind it, which the Region owns, for passing on to another process; −1 where there is none.
   */
  readonly fd: number
  /**
   * Takes all pages from the system now, in pieces, on threads of its own: the first touch of a page costs
   * far more than to copy it. The bytes stay what they are, and may be used meanwhile. `close` ends it at the
   * next piece; calls while it runs share its promise. Pages of `wrapBuffer` and of `mapRegion` are those of
   * others, and are left alone.
   * @throws ERR_OUT_OF_MEMORY, ERR_REGION_CLOSED
   */
  prefault(): Promise<void>
}

/**
 * New memory, zeroed, behind a memfd of its own. Pages are taken from the system when they are first touched.
 * @throws ERR_OUT_OF_MEMORY, ERR_INVALID_PARAMS, ERR_NATIVE_MISSING
 */
export function createRegion(options: CreateRegionOptions): HostRegion {
  const { byteLength, hugePages, numaNode = -1, label = 'region', onWarning = emitWarning } = options
  assertInteger('byteLength', byteLength, 1, Number.MAX_SAFE_INTEGER)
  assertPlacement(options)
  const warnings: string[] = []
  const handle = guarded(() =>
    native().createRegion(byteLength, hugePages ?? 'default', numaNode, label, warnings),
  )
  for (const warning of warnings) onWarning(`Region '${label}': ${warning}`)
  return new MappedRegion(handle, byteLength, false)
}

/**
 * The first `byteLength` bytes of a memfd that another process made, such as the `fd` of its Region, for
 * reading only: the kernel ends a process that writes there, and copies into it are refused. The descriptor
 * is duplicated; the caller's own stays the caller's. It must be sealed against shrinking (ours are), because
 * an access beyond the end of a file kills the process.
 * @throws ERR_INVALID_PARAMS, ERR_OUT_OF_MEMORY, ERR_NATIVE_MISSING
 */
export function mapRegion(fd: number, byteLength: number): HostRegion {
  assertInteger('fd', fd, 0, 2 ** 31 - 1)
  assertInteger('byteLength', byteLength, 1, Number.MAX_SAFE_INTEGER)
  return new MappedRegion(
    guarded(() => native().mapRegion(fd, byteLength)),
    byteLength,
    true,
  )
}

/**
 * A Region over the caller's own bytes, without a copy. The bytes stay reachable until the Region is closed
 * (or collected) and nothing is in flight on it. Their buffer must not be transferred or resized meanwhile.
 * @throws ERR_INVALID_PARAMS, ERR_NATIVE_MISSING
 */
export function wrapBuffer(bytes: Uint8Array): HostRegion {
  if (!(bytes instanceof Uint8Array))
    throw new MooncakeError('ERR_INVALID_PARAMS', 'bytes must be a Uint8Array')
  return new WrappedRegion(
    guarded(() => native().wrapBuffer(bytes)),
    bytes,
  )
}

/**
 * Empties a view that `Region.view` gave, and every other array over its buffer, so that nobody reads through
 * it what the memory is used for next. Views of `wrapBuffer` are over the caller's own buffer: never pass
 * one.
 */
export function detachView(view: Uint8Array): void {
  if (view.buffer.byteLength > 0) guarded(() => native().detachView(view.buffer))
}

export interface MemoryStats {
  /**
   * Made by `createRegion` or `mapRegion`, and still in use by somebody: an owner, a view or an operation in
   * flight.
   */
  readonly liveRegions: number
  readonly liveBytes: number
  /** Made by `wrapBuffer`, and still in use by somebody. */
  readonly wrappedRegions: number
}

/** What this JavaScript thread made and somebody still uses. @throws ERR_NATIVE_MISSING */
export function memoryStats(): MemoryStats {
  const [liveRegions, liveBytes, wrappedRegions] = native().stats()
  return { liveRegions, liveBytes, wrappedRegions }
}

let regionsMade = 0

/** Worker threads load this module again, so the number of the thread is a part. */
function nextRegionId(): number {
  return threadId * 2 ** 32 + regionsMade++
}

abstract class BaseRegion implements HostRegion {
  abstract readonly readOnly: boolean
  readonly id = nextRegionId()
  readonly kind = 'host'
  readonly handle: unknown
  readonly byteLength: number
  #closed = false
  #closeListeners: Array<() => void> = []
  #prefaulting: Promise<void> | undefined

  constructor(handle: unknown, byteLength: number) {
    this.handle = handle
    this.byteLength = byteLength
  }

  get closed(): boolean {
    return this.#closed
  }

  get fd(): number {
    return this.#closed ? -1 : native().regionFd(this.handle)
  }

  view(offset: number, byteLength: number): Uint8Array {
    assertSlice({ region: this, offset, byteLength })
    return this.window(offset, byteLength)
  }

  /** `view`, once its arguments are known to be good. */
  protected abstract window(offset: number, byteLength: number): Uint8Array

  prefault(): Promise<void> {
    this.#prefaulting ??= this.#prefaultOnce()
    return this.#prefaulting
  }

  /**
   * Refers to `this` until the end, so that a Region with nobody but this promise is not collected, thus
   * closed.
   */
  async #prefaultOnce(): Promise<void> {
    try {
      if (this.#closed) throw new MooncakeError('ERR_REGION_CLOSED', `Region ${this.id} was closed`)
      await this.takePages()
    } catch (error) {
      throw asMooncakeError(error)
    } finally {
      this.#prefaulting = undefined
    }
  }

  protected abstract takePages(): Promise<void>

  onClose(listener: () => void): void {
    if (this.#closed) listener()
    else this.#closeListeners.push(listener)
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    const listeners = this.#closeListeners
    this.#closeListeners = []
    try {
      runAll(listeners)
    } finally {
      native().closeRegion(this.handle)
    }
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

class MappedRegion extends BaseRegion {
  readonly readOnly: boolean

  constructor(handle: unknown, byteLength: number, readOnly: boolean) {
    super(handle, byteLength)
    this.readOnly = readOnly
  }

  protected window(offset: number, byteLength: number): Uint8Array {
    // V8 knows an external buffer by its address, and may not tell two empty ones apart.
    if (byteLength === 0) return new Uint8Array(0)
    if (byteLength > constants.MAX_LENGTH) {
      throw new MooncakeError(
        'ERR_NOT_SUPPORTED',
        `A view spans at most ${constants.MAX_LENGTH} bytes on this Node`,
      )
    }
    return new Uint8Array(guarded(() => native().viewRegion(this.handle, offset, byteLength)))
  }

  protected async takePages(): Promise<void> {
    if (!this.readOnly) await native().prefaultRegion(this.handle)
  }
}

class WrappedRegion extends BaseRegion {
  readonly readOnly = false
  readonly #bytes: Uint8Array

  constructor(handle: unknown, bytes: Uint8Array) {
    super(handle, bytes.byteLength)
    this.#bytes = bytes
  }

  protected window(offset: number, byteLength: number): Uint8Array {
    return new Uint8Array(this.#bytes.buffer, this.#bytes.byteOffset + offset, byteLength)
  }

  protected async takePages(): Promise<void> {}
}

/** Runs every listener, whatever the others do, and throws the first error afterwards. */
function runAll(listeners: readonly (() => void)[]): void {
  const errors: unknown[] = []
  for (const listener of listeners) {
    try {
      listener()
    } catch (error) {
      errors.push(error)
    }
  }
  if (errors.length > 0) throw errors[0]
}

/** The addon throws plain Errors with a `code` of ours; callers get a MooncakeError. */
function guarded<T>(call: () => T): T {
  try {
    return call()
  } catch (error) {
    throw asMooncakeError(error)
  }
}
