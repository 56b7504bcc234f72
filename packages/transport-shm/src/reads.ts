import { MooncakeError, scrub, type Slice, type Batch, type BatchOperation } from '@mooncake-ts/core'
import type { HostRegion } from '@mooncake-ts/memory'
import type { Channel } from './channel.js'
import { encodeStage, encodeUnstage, type Staged } from './codec.js'
import type { Copier } from './copier.js'
import { PRIVATE_REGION, type FoundGrant } from './grant-table.js'
import type { Ids } from './ids.js'
import type { RemoteMemory } from './remote-memory.js'
import { BLOCK_BYTES } from './staging.js'

/** A piece of private memory of the peer, on its way here. */
interface Piece {
  readonly operation: BatchOperation
  readonly into: Slice
}

/** READs from one peer: copies out of its memory, which it takes no part in. */
export class Reads {
  readonly #channel: Channel
  readonly #memory: RemoteMemory
  readonly #copier: Copier
  readonly #ids: Ids
  /** Of private memory, which the peer is bringing to where it can be read. */
  readonly #pieces = new Map<number, Piece>()

  constructor(channel: Channel, memory: RemoteMemory, copier: Copier, ids: Ids) {
    this.#channel = channel
    this.#memory = memory
    this.#copier = copier
    this.#ids = ids
  }

  get owed(): number {
    return this.#pieces.size
  }

  /** @throws ERR_ACCESS_DENIED before anything is posted */
  start(operation: BatchOperation): void {
    const { remote } = operation.op
    const grant = this.#memory.find('read', remote)
    if (grant.regionId === PRIVATE_REGION) {
      this.#stage(operation)
      return
    }
    this.#memory.whenMapped(grant, remote.window.key, {
      owner: operation.batch,
      mapped: region => {
        this.#copy(operation, grant, region)
      },
      failed: error => {
        operation.settle(error)
      },
      takenBack: () => {
        operation.takeBack()
      },
    })
  }

  staged({ id, error, regionId, offset }: Staged): void {
    const piece = this.#pieces.get(id)
    if (piece == null) return // Taken back meanwhile, which the peer will hear.
    this.#pieces.delete(id)
    const region = this.#memory.mapped(regionId)
    if (error != null || region == null) {
      piece.operation.settle(error ?? new MooncakeError('ERR_PROTOCOL'))
      return
    }
    const { operation, into } = piece
    const unstage = (): void => {
      this.#channel.send(encodeUnstage(id))
    }
    this.#copier.add({
      owner: operation.batch,
      byteLength: into.byteLength,
      begin: () => ({
        from: { region: openOnly(region), offset, byteLength: into.byteLength },
        to: { ...into, region: openOnly(into.region) },
      }),
      end: cause => {
        unstage()
        operation.settle(cause)
      },
      takenBack: () => {
        unstage()
        operation.takeBack()
      },
    })
  }

  takeBack(batch: Batch): void {
    for (const [id, { operation }] of this.#pieces) {
      if (operation.batch !== batch) continue
      this.#pieces.delete(id)
      this.#channel.send(encodeUnstage(id))
      operation.takeBack()
    }
  }

  close(reason: MooncakeError): void {
    for (const { operation } of this.#pieces.values()) operation.settle(reason)
    this.#pieces.clear()
  }

  #copy(operation: BatchOperation, grant: FoundGrant, region: HostRegion): void {
    const { local, remote } = operation.op
    const { byteLength } = local
    this.#copier.add({
      owner: operation.batch,
      byteLength,
      begin: () => {
        this.#assertHolds(grant)
        if (region.closed) throw new MooncakeError('ERR_TRANSFER_FAIL', 'The memory of the peer was unmapped')
        const from = { region, offset: grant.offset + remote.offset, byteLength }
        return { from, to: { ...local, region: openOnly(local.region) } }
      },
      end: error => {
        if (error == null && !this.#memory.holds(grant)) {
          // It may be something that was never put where this was read.
          scrub(local, () => {
            operation.settle(this.#memory.refusal)
          })
        } else operation.settle(error)
      },
      takenBack: () => {
        operation.takeBack()
      },
    })
  }

  #assertHolds(grant: FoundGrant): void {
    if (!this.#memory.holds(grant)) throw this.#memory.refusal
  }

  #stage(operation: BatchOperation): void {
    const { local, remote } = operation.op
    operation.split(Math.ceil(local.byteLength / BLOCK_BYTES))
    for (let at = 0; at < local.byteLength; at += BLOCK_BYTES) {
      const byteLength = Math.min(BLOCK_BYTES, local.byteLength - at)
      const id = this.#ids.next()
      this.#pieces.set(id, {
        operation,
        into: { region: local.region, offset: local.offset + at, byteLength },
      })
      this.#channel.send(encodeStage({ id, key: remote.window.key, offset: remote.offset + at, byteLength }))
    }
  }
}

/** The copy pool refuses a whole batch for one closed region. @throws ERR_REGION_CLOSED */
export function openOnly<R extends Slice['region']>(region: R): R {
  if (region.closed) throw new MooncakeError('ERR_REGION_CLOSED')
  return region
}
