import { isErrorCode, MooncakeError, type Clock, type Slice, type Transport } from '@mooncake-ts/core'
import type { PeerClient } from '../peers/peer-client.js'
import { Announcement } from '../transfer/announcement.js'
import { firstBytes } from '../transfer/slices.js'
import type { SubmitOp, TransferSubmitter } from '../transfer/submitter.js'

export interface ReadTask {
  readonly key: string
  readonly target: Slice
}

export interface ReadOutcome {
  readonly error?: Error
  /** Of the object, also where it did not fit. */
  readonly byteLength: number
  readonly checksum?: number
}

export interface PeerCallOptions {
  readonly signal: AbortSignal
  readonly deadlineMs: number
}

/** An error from the code that a peer answered with. */
export function peerError(code: string, message?: string): MooncakeError {
  return isErrorCode(code)
    ? new MooncakeError(code, message)
    : new MooncakeError('ERR_INTERNAL', message ?? code)
}

/**
 * Reads objects that one peer holds. Reverse: one RPC, the owner WRITEs; needs a transport whose windows can
 * be revoked, because this side owns the deadline. Forward: pin, READ from here, unpin.
 */
export class PeerReads {
  readonly #reversible: readonly Transport[]
  readonly #submitter: TransferSubmitter
  readonly #clock: Clock

  constructor(
    transports: readonly Transport[],
    submitter: TransferSubmitter,
    clock: Clock,
    direction: 'reverse' | 'forward',
  ) {
    this.#reversible =
      direction === 'reverse' ? transports.filter(transport => transport.supports.revoke) : []
    this.#submitter = submitter
    this.#clock = clock
  }

  /** One outcome per task, in order, at rest. @throws what the RPC throws; then at rest too */
  async read(peer: PeerClient, tasks: readonly ReadTask[], options: PeerCallOptions): Promise<ReadOutcome[]> {
    return this.#reversible.length > 0
      ? await this.#reverse(peer, tasks, options)
      : await this.#forward(peer, tasks, options)
  }

  async #reverse(
    peer: PeerClient,
    tasks: readonly ReadTask[],
    options: PeerCallOptions,
  ): Promise<ReadOutcome[]> {
    const announcement = new Announcement(
      this.#reversible,
      tasks.map(task => task.target),
      'write',
    )
    try {
      const items = tasks.map(({ key, target }) => ({ key, parts: announcement.locate(target) }))
      const results = await peer.read({ regions: announcement.regions, items }, options)
      return tasks.map((_, index) => {
        const { code, ...outcome } = results[index] ?? { code: 'ERR_PROTOCOL', byteLength: 0 }
        return code == null ? outcome : { ...outcome, error: peerError(code) }
      })
    } finally {
      await announcement.revoke()
    }
  }

  async #forward(
    peer: PeerClient,
    tasks: readonly ReadTask[],
    options: PeerCallOptions,
  ): Promise<ReadOutcome[]> {
    const askedMs = this.#clock.nowMs()
    const pins = await peer.pinKeys(
      tasks.map(task => task.key),
      options,
    )
    const outcomes: ReadOutcome[] = []
    const ops: SubmitOp[] = []
    const owners: number[] = []
    tasks.forEach(({ target }, index) => {
      const { code, byteLength, checksum, region } = pins[index] ?? { code: 'ERR_PROTOCOL', byteLength: 0 }
      const overflow = target.byteLength < byteLength ? 'ERR_BUFFER_OVERFLOW' : undefined
      const failed = code ?? overflow
      outcomes.push({
        byteLength,
        ...(checksum == null ? {} : { checksum }),
        ...(failed == null ? {} : { error: peerError(failed) }),
      })
      const [local] = firstBytes([target], byteLength)
      if (failed != null || local == null) return
      ops.push({ kind: 'read', local, region: region ?? { windows: [] }, offset: 0 })
      owners.push(index)
    })
    const fail = (index: number, error: Error): void => {
      outcomes[index] = { ...outcomes[index]!, error }
    }
    await this.#submitter.submit(ops, options.signal, (op, error) => {
      if (error != null) fail(owners[op]!, error)
    })
    const tookMs = this.#clock.nowMs() - askedMs
    for (const index of owners) {
      // The owner gives the place away when the lease has run out: what was read after that may be something
      // else (I4).
      if (tookMs > (pins[index]!.leaseMs ?? 0)) fail(index, new MooncakeError('ERR_LEASE_EXPIRED'))
    }
    this.#unpin(peer, tasks, pins, options)
    return outcomes
  }

  #unpin(
    peer: PeerClient,
    tasks: readonly ReadTask[],
    pins: ReadonlyArray<{ readonly operationId?: string | undefined }>,
    { deadlineMs }: PeerCallOptions,
  ): void {
    const held = tasks.flatMap(({ key }, index) => {
      const operationId = pins[index]?.operationId
      return operationId == null ? [] : [{ key, operationId }]
    })
    // Nobody waits for it: where it is lost, the lease runs out.
    if (held.length > 0) peer.unpinKeys(held, { deadlineMs }).catch(() => {})
  }
}
