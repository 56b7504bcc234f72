import { MooncakeError } from '@mooncake-ts/core'
import type { Channel } from './channel.js'
import { encodeRegion, encodeStaged, type Stage } from './codec.js'
import type { Copier } from './copier.js'
import { authorized, type ExposedRange, type Exposures } from './exposures.js'
import { BLOCK_BYTES, Staging, type Block } from './staging.js'

/** A piece of private memory that the peer wants to read. */
interface Piece {
  readonly stage: Stage
  /** Of staging memory; none while it waits for one. */
  block?: Block
  /** The peer may read it. */
  ready: boolean
  unwanted: boolean
}

/** Brings bytes that no other process can map to where one peer can read them, block by block. */
export class StageService {
  readonly #channel: Channel
  readonly #exposures: Exposures
  readonly #copier: Copier
  readonly #staging: Staging
  readonly #pieces = new Map<number, Piece>()
  #announced = false

  constructor(channel: Channel, exposures: Exposures, copier: Copier, stagingBytes: number) {
    this.#channel = channel
    this.#exposures = exposures
    this.#copier = copier
    this.#staging = new Staging(stagingBytes)
  }

  stage(stage: Stage): void {
    const piece: Piece = { stage, ready: false, unwanted: false }
    this.#pieces.set(stage.id, piece)
    if (stage.byteLength > BLOCK_BYTES) {
      this.#end(piece, new MooncakeError('ERR_SLICE_OUT_OF_BOUNDS'))
      return
    }
    this.#staging.acquire({
      owner: piece,
      take: block => {
        piece.block = block
        this.#fill(piece, block)
      },
      failed: error => {
        this.#end(piece, error)
      },
      takenBack: () => {
        this.#end(piece)
      },
    })
  }

  /** The peer has read the piece, or does not want it any more. */
  unstage(id: number): void {
    const piece = this.#pieces.get(id)
    if (piece == null) return
    piece.unwanted = true
    if (piece.ready) this.#end(piece)
    else this.#staging.takeBack(piece) // Where it is being filled already, it ends with that.
  }

  /** The peer is gone. What is being filled ends by itself. */
  close(reason: MooncakeError): void {
    const pieces = new Set<object>(this.#pieces.values())
    this.#copier.takeBack(owner => pieces.has(owner))
    this.#staging.close(reason)
  }

  #fill(piece: Piece, block: Block): void {
    const { key, offset, byteLength } = piece.stage
    let range: ExposedRange | undefined
    this.#copier.add({
      owner: piece,
      byteLength,
      begin: () => {
        range = authorized(this.#exposures, 'read', key, offset, byteLength)
        range.retain()
        const from = { region: range.region, offset: range.offset + offset, byteLength }
        return { from, to: { ...block, byteLength } }
      },
      end: error => {
        range?.release()
        if (error != null || piece.unwanted) this.#end(piece, error)
        else this.#tell(piece, block)
      },
      takenBack: () => {
        this.#end(piece)
      },
    })
    this.#copier.pump()
  }

  #tell(piece: Piece, { region, offset }: Block): void {
    piece.ready = true
    if (!this.#announced) this.#channel.send(encodeRegion(region.id, region.byteLength), region)
    this.#announced = true
    this.#channel.send(encodeStaged({ id: piece.stage.id, error: undefined, regionId: region.id, offset }))
  }

  #end(piece: Piece, error?: MooncakeError): void {
    const { id } = piece.stage
    this.#pieces.delete(id)
    if (error != null) this.#channel.send(encodeStaged({ id, error, regionId: 0, offset: 0 }))
    if (piece.block != null) this.#staging.release(piece.block)
  }
}
