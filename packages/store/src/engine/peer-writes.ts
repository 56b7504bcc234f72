import type { Slice, Transport } from '@mooncake-ts/core'
import type { PeerClient } from '../peers/peer-client.js'
import type { WriteItemSpec, WireRegion } from '../peers/protocol.js'
import { addOps } from '../peers/remote-reader.js'
import type { WriteTerms } from '../peers/remote-writer.js'
import { Announcement } from '../transfer/announcement.js'
import type { SubmitOp, TransferSubmitter } from '../transfer/submitter.js'
import { peerError, type PeerCallOptions } from './peer-reads.js'

export interface WriteTask extends Omit<WriteItemSpec, 'parts'> {
  readonly parts: readonly Slice[]
}

export interface WriteOutcome {
  readonly error?: Error
  readonly existed: boolean
}

interface Answer {
  readonly code?: string | undefined
  readonly message?: string | undefined
  readonly existed: boolean
}

/**
 * Writes objects to one peer. Reverse: one RPC, the owner READs. Forward: PreWrite, WRITE from here,
 * WriteCommit.
 */
export class PeerWrites {
  readonly #reversible: readonly Transport[]
  readonly #submitter: TransferSubmitter

  constructor(
    transports: readonly Transport[],
    submitter: TransferSubmitter,
    direction: 'reverse' | 'forward',
  ) {
    this.#reversible =
      direction === 'reverse' ? transports.filter(transport => transport.supports.revoke) : []
    this.#submitter = submitter
  }

  /** One outcome per task, in order, at rest. @throws what the RPC throws; then at rest too */
  async write(
    peer: PeerClient,
    tasks: readonly WriteTask[],
    terms: WriteTerms,
    options: PeerCallOptions,
  ): Promise<WriteOutcome[]> {
    return this.#reversible.length > 0
      ? await this.#reverse(peer, tasks, terms, options)
      : await this.#forward(peer, tasks, terms, options)
  }

  async #reverse(
    peer: PeerClient,
    tasks: readonly WriteTask[],
    terms: WriteTerms,
    options: PeerCallOptions,
  ): Promise<WriteOutcome[]> {
    const announcement = new Announcement(
      this.#reversible,
      tasks.flatMap(task => task.parts),
      'read',
    )
    try {
      const items = tasks.map(task => ({
        ...task,
        parts: task.parts.flatMap(part => announcement.locate(part)),
      }))
      const answers = await peer.write({ regions: announcement.regions, items, ...terms }, options)
      return tasks.map((_, index) => outcomeOf(answers[index]))
    } finally {
      await announcement.revoke()
    }
  }

  async #forward(
    peer: PeerClient,
    tasks: readonly WriteTask[],
    terms: WriteTerms,
    options: PeerCallOptions,
  ): Promise<WriteOutcome[]> {
    const items = tasks.map(({ parts: _, ...spec }) => spec)
    const grants = await peer.preWrite({ items, ...terms }, options)
    const outcomes = tasks.map((_, index) => outcomeOf(grants[index]))
    const ops: SubmitOp[] = []
    const owners: number[] = []
    grants.forEach(({ operationId, region }, index) => {
      if (operationId == null || region == null) return
      const before = ops.length
      addPartOps(ops, tasks[index]!.parts, region)
      for (let i = before; i < ops.length; i++) owners.push(index)
    })
    await this.#submitter.submit(ops, options.signal, (op, error) => {
      if (error != null) outcomes[owners[op]!] = { error, existed: false }
    })
    const begun = grants.flatMap(({ operationId }, index) =>
      operationId == null ? [] : [{ index, operationId }],
    )
    const refOf = ({ index, operationId }: (typeof begun)[number]) => ({
      key: tasks[index]!.key,
      operationId,
    })
    const failed = begun.filter(({ index }) => outcomes[index]!.error != null)
    const whole = begun.filter(({ index }) => outcomes[index]!.error == null)
    // Nobody waits for the revocation: where it is lost, the lease runs out.
    if (failed.length > 0)
      peer.writeRevoke(failed.map(refOf), { deadlineMs: options.deadlineMs }).catch(() => {})
    if (whole.length === 0) return outcomes
    const answers = await peer.writeCommit(whole.map(refOf), options)
    whole.forEach(({ index }, position) => {
      outcomes[index] = outcomeOf(answers[position])
    })
    return outcomes
  }
}

function outcomeOf(answer: Answer | undefined): WriteOutcome {
  if (answer == null)
    return {
      error: peerError('ERR_PROTOCOL', 'The peer answered fewer items than it was asked for'),
      existed: false,
    }
  const { code, message, existed } = answer
  return code == null ? { existed } : { existed, error: peerError(code, message) }
}

/** The caller's parts, one after the other, into one window of the owner. */
function addPartOps(ops: SubmitOp[], parts: readonly Slice[], region: WireRegion): void {
  let at = 0
  for (const part of parts) {
    addOps(ops, 'write', part, [0, at, part.byteLength], [region])
    at += part.byteLength
  }
}
