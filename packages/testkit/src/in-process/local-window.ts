import {
  assertSlice,
  isInside,
  MooncakeError,
  type ExposeOptions,
  type Region,
  type TransferOp,
} from '@mooncake-ts/core'
import { InFlight } from './in-flight.js'

/** A range of a Region that peers reach, and the operations of peers that are on it. */
export class LocalWindow {
  readonly #region: Region
  readonly #options: ExposeOptions
  readonly #using = new InFlight()

  constructor(region: Region, options: ExposeOptions) {
    this.#region = region
    this.#options = options
  }

  /**
   * Checks a peer's operation, lets it travel, and moves its bytes. They are copied by JavaScript, which only
   * a test kit may do.
   * @throws ERR_ACCESS_DENIED, ERR_SLICE_OUT_OF_BOUNDS, ERR_REGION_CLOSED
   */
  use(op: TransferOp, travel: () => Promise<void>): Promise<number> {
    return this.#using.track(this.#use(op, travel))
  }

  /** Settles when no peer's operation is on the range any more. New ones no longer find this window. */
  revoke(): Promise<void> {
    return this.#using.rest()
  }

  async #use(op: TransferOp, travel: () => Promise<void>): Promise<number> {
    this.#assertAllowed(op)
    await travel()
    const { local, remote, kind } = op
    assertSlice(local)
    const here = local.region.view(local.offset, local.byteLength)
    const there = this.#region.view(this.#options.offset + remote.offset, remote.byteLength)
    if (kind === 'read') here.set(there)
    else there.set(here)
    return local.byteLength
  }

  #assertAllowed({ kind, local, remote }: TransferOp): void {
    const { access, byteLength } = this.#options
    assertSlice(local)
    if (local.byteLength !== remote.byteLength) {
      const message = `${local.byteLength} local bytes do not go with ${remote.byteLength} remote ones`
      throw new MooncakeError('ERR_INVALID_PARAMS', message)
    }
    if (access !== kind && access !== 'readwrite')
      throw new MooncakeError('ERR_ACCESS_DENIED', `The window does not let peers ${kind}`)
    if (this.#region.closed || !isInside(remote.offset, remote.byteLength, byteLength))
      throw new MooncakeError('ERR_ACCESS_DENIED', 'The range is not inside of the window')
  }
}
