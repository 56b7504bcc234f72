import { hasCode, type CopyPool, type RpcCallOptions, type Slice, type Transport } from '@mooncake-ts/core'
import type { PeerClient } from '../peers/peer-client.js'
import { INLINE_BYTES_MAX } from '../peers/protocol.js'
import type { WireRegion, WriteInline, WriteItemSpec } from '../peers/protocol.js'
import { addOps } from '../peers/remote-reader.js'
import type { WriteTerms } from '../peers/remote-writer.js'
import { SendBuffers } from '../peers/send-buffers.js'
import { Announcement } from '../transfer/announcement.js'
import type { SubmitOp, TransferSubmitter } from '../transfer/submitter.js'
import { peerError, type PeerCallOptions } from './peer-reads.js'

export interface WriteTask extends Readonly<Omit<WriteItemSpec, 'parts'>> {
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
 * Writes objects to one peer. Small ones go with the request of one RPC. Others, reverse: one RPC, the owner
 * READs. Forward: PreWrite, WRITE from here, WriteCommit.
 */
export class PeerWrites {
  readonly #reversible: readonly Transport[]
  readonly #submitter: TransferSubmitter
  readonly #copyPool: CopyPool
  readonly #inlineBytesMax: number
  readonly #buffers = new SendBuffers(INLINE_BYTES_MAX)

  constructor(init: {
    readonly transports: readonly Transport[]
    readonly submitter: TransferSubmitter
    readonly copyPool: CopyPool
    readonly direction: 'reverse' | 'forward'
    readonly inlineBytesMax: number
  }) {
    this.#reversible =
      init.direction === 'reverse' ? init.transports.filter(transport => transport.supports.revoke) : []
    this.#submitter = init.submitter
    this.#copyPool = init.copyPool
    this.#inlineBytesMax = init.inlineBytesMax
  }

  /** Whether owners can take bytes from here, and so all that a put needs is one call. */
  get reversible(): boolean {
    return this.#reversible.length > 0
  }

  /** One outcome per task, in order, at rest. @throws what the RPC throws; then at rest too */
  async write(
    peer: PeerClient,
    tasks: readonly WriteTask[],
    terms: WriteTerms,
    options: PeerCallOptions,
  ): Promise<WriteOutcome[]> {
    const bytes = bytesOf(tasks)
    // Who has to wait for space does so without its bytes.
    if (bytes > this.#inlineBytesMax || terms.waitMs > 0) {
      return await this.#byTransport(peer, tasks, terms, options)
    }
    return await this.#inline(peer, tasks, terms, options)
  }

  /**
   * With numbers from a lease in which the peer's life had this id. ERR_LEASE_EXPIRED and ERR_NOT_SUPPORTED
   * mean: not so. Large objects only where `reversible`.
   */
  async writeLeased(
    peer: PeerClient,
    tasks: readonly WriteTask[],
    terms: WriteTerms,
    options: PeerCallOptions & { readonly leasedFor: string },
  ): Promise<WriteOutcome[]> {
    return bytesOf(tasks) > this.#inlineBytesMax
      ? await this.#reverse(peer, tasks, terms, options)
      : await this.#attached(peer, tasks, terms, options)
  }

  async #attached(
    peer: PeerClient,
    tasks: readonly WriteTask[],
    terms: WriteTerms,
    { leasedFor, ...options }: PeerCallOptions & { readonly leasedFor?: string },
  ): Promise<WriteOutcome[]> {
    const request = { ...inlineRequest(tasks, terms), ...(leasedFor == null ? {} : { leasedFor }) }
    const answer = await peer.writeInline(request, { ...options, ...this.#attach(tasks) })
    return inlineOutcomes(answer, tasks.length)
  }

  async #inline(
    peer: PeerClient,
    tasks: readonly WriteTask[],
    terms: WriteTerms,
    options: PeerCallOptions,
  ): Promise<WriteOutcome[]> {
    const outcomes = await this.#attached(peer, tasks, terms, options)
    const left = tasks.flatMap((task, position) =>
      hasCode(outcomes[position]!.error, 'ERR_NOT_SUPPORTED') ? [{ task, position }] : [],
    )
    if (left.length === 0) return outcomes
    const again = await this.#byTransport(
      peer,
      left.map(({ task }) => task),
      terms,
      options,
    )
    left.forEach(({ position }, i) => {
      outcomes[position] = again[i]!
    })
    return outcomes
  }

  /** A copy: what goes out after the call has ended is nobody's memory but the RPC's (I3). */
  #attach(tasks: readonly WriteTask[]): Pick<RpcCallOptions, 'attachment' | 'onSent'> {
    const bytes = bytesOf(tasks)
    if (bytes === 0) return {}
    const buffer = this.#buffers.take(bytes)
    const attachment = buffer.subarray(0, bytes)
    this.#copyPool.gather(
      tasks.flatMap(task => task.parts),
      attachment,
    )
    const onSent = (): void => {
      this.#buffers.giveBack(buffer)
    }
    return { attachment, onSent }
  }

  async #byTransport(
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
    { leasedFor, ...options }: PeerCallOptions & { readonly leasedFor?: string },
  ): Promise<WriteOutcome[]> {
    const announcement = new Announcement(
      this.#reversible,
      tasks.flatMap(task => task.parts),
      'read',
    )
    let peerAtRest = false
    try {
      const items = tasks.map(task => ({
        ...specOf(task),
        parts: task.parts.flatMap(part => announcement.locate(part)),
      }))
      const request = { regions: announcement.regions, items, ...terms }
      const answers = await (leasedFor == null
        ? peer.write(request, options)
        : peer.writeLeased({ ...request, leasedFor }, options))
      peerAtRest = answers.every(({ code }) => code == null)
      return tasks.map((_, index) => outcomeOf(answers[index]))
    } finally {
      await announcement.revoke({ peerAtRest })
    }
  }

  async #forward(
    peer: PeerClient,
    tasks: readonly WriteTask[],
    terms: WriteTerms,
    options: PeerCallOptions,
  ): Promise<WriteOutcome[]> {
    const items = tasks.map(specOf)
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

function specOf({ key, byteLength, generation, checksum, place }: WriteTask): Omit<WriteItemSpec, 'parts'> {
  return {
    key,
    byteLength,
    generation,
    ...(checksum == null ? {} : { checksum }),
    ...(place == null ? {} : { place }),
  }
}

export function bytesOf(tasks: readonly WriteTask[]): number {
  let bytes = 0
  for (const task of tasks) bytes += task.byteLength
  return bytes
}

function inlineRequest(
  tasks: readonly WriteTask[],
  { upsert, softPin, hardPin }: WriteTerms,
): ReturnType<typeof WriteInline.parseRequest> {
  const withChecksums = tasks.some(task => task.checksum != null)
  const batchCount = tasks[0]?.place?.count // All come from one call.
  return {
    keys: tasks.map(task => task.key),
    byteLengths: tasks.map(task => task.byteLength),
    generations: tasks.map(task => task.generation),
    ...(withChecksums ? { checksums: tasks.map(task => task.checksum ?? null) } : {}),
    ...(batchCount == null ? {} : { batchCount, batchIndexes: tasks.map(task => task.place?.index ?? 0) }),
    upsert,
    softPin,
    hardPin,
  }
}

/** @throws ERR_PROTOCOL */
function inlineOutcomes(
  { existed, failed, codes, messages }: ReturnType<typeof WriteInline.parseResponse>,
  count: number,
): WriteOutcome[] {
  const named = [...existed, ...failed].every(position => position < count)
  if (!named || codes.length !== failed.length || messages.length !== failed.length) {
    throw peerError('ERR_PROTOCOL', 'The peer answered something else than it was asked for')
  }
  const outcomes = Array.from({ length: count }, (): WriteOutcome => ({ existed: false }))
  for (const position of existed) outcomes[position] = { existed: true }
  failed.forEach((position, i) => {
    outcomes[position] = { existed: false, error: peerError(codes[i]!, messages[i]) }
  })
  return outcomes
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
