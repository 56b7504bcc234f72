import { asMooncakeError, MIB, type MooncakeError } from '@mooncake-ts/core'
import { createRegion, type HostRegion } from '@mooncake-ts/memory'

/** What goes through staging in one piece; both ends know it. */
export const BLOCK_BYTES = MIB

/** A piece of shareable memory that bytes pass through. */
export interface Block {
  readonly region: HostRegion
  readonly offset: number
}

/** One who wants a block. Exactly one of the three is called, once. */
export interface Staged {
  readonly owner: object
  readonly take: (block: Block) => void
  readonly failed: (error: MooncakeError) => void
  readonly takenBack: () => void
}

/** Memory for bytes that lie where no peer can map them, in blocks. First come, first served. */
export class Staging {
  readonly #blockCount: number
  #region: HostRegion | undefined
  #free: number[] = []
  #waiting: Staged[] = []

  constructor(byteLength: number) {
    this.#blockCount = Math.floor(byteLength / BLOCK_BYTES)
  }

  /** At once, or when a block is free. */
  acquire(staged: Staged): void {
    let region: HostRegion
    try {
      region = this.#region ??= this.#create()
    } catch (error) {
      staged.failed(asMooncakeError(error))
      return
    }
    const offset = this.#free.pop()
    if (offset == null) this.#waiting.push(staged)
    else staged.take({ region, offset })
  }

  release(block: Block): void {
    const next = this.#waiting.shift()
    if (next == null) this.#free.push(block.offset)
    else next.take(block)
  }

  /** What an owner still waits for. */
  takeBack(owner: object): void {
    const takenBack = this.#waiting.filter(staged => staged.owner === owner)
    this.#waiting = this.#waiting.filter(staged => staged.owner !== owner)
    for (const staged of takenBack) staged.takenBack()
  }

  /** Fails those that wait. Blocks that are in use stay until their copies have ended. */
  close(reason: MooncakeError): void {
    for (const staged of this.#waiting.splice(0)) staged.failed(reason)
    this.#region?.close()
    this.#region = undefined
  }

  #create(): HostRegion {
    this.#free = Array.from({ length: this.#blockCount }, (_, index) => index * BLOCK_BYTES)
    return createRegion({ byteLength: BLOCK_BYTES * this.#blockCount, label: 'staging' })
  }
}
