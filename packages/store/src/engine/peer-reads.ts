import { asMooncakeError, isErrorCode, MooncakeError } from '@mooncake-ts/core'
import type { Clock, CopyPool, Slice, Transport } from '@mooncake-ts/core'
import type { Neighbours } from '../near/neighbours.js'
import type { PeerClient } from '../peers/peer-client.js'
import { INLINE_ALONE_BYTES_MAX, INLINE_BYTES_MAX, type ReadInline } from '../peers/protocol.js'
import { Announcement } from '../transfer/announcement.js'
import { SliceCursor } from '../transfer/slice-cursor.js'
import { firstBytes, subSlice } from '../transfer/slices.js'
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

export interface PeerRead {
  /** One per task, in order, at rest. */
  readonly outcomes: ReadOutcome[]
  /** Positions of the tasks that the peer was asked for. */
  readonly asked: readonly number[]
  /** Why it did not answer. */
  readonly error?: Error
}

type InlineAnswer = ReturnType<typeof ReadInline.parseResponse>

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
 * Reads objects that one peer holds. Those of a neighbour are copied, and nobody is asked. Small ones come with
 * the answer of one RPC. Others, reverse: one RPC, the owner WRITEs; needs a transport whose windows can be
 * revoked, because this side owns the deadline. Forward: pin, READ from here, unpin.
 */
export class PeerReads {
  readonly #reversible: readonly Transport[]
  readonly #submitter: TransferSubmitter
  readonly #neighbours: Neighbours
  readonly #clock: Clock
  readonly #copyPool: CopyPool
  readonly #inlineBytesMax: number
  readonly #inlineAloneBytesMax: number
  /** Reads that peers have been asked for and that have not ended. */
  #reading = 0

  constructor(init: {
    readonly transports: readonly Transport[]
    readonly submitter: TransferSubmitter
    readonly neighbours: Neighbours
    readonly clock: Clock
    readonly copyPool: CopyPool
    readonly direction: 'reverse' | 'forward'
    readonly inlineBytesMax: number
  }) {
    this.#reversible =
      init.direction === 'reverse' ? init.transports.filter(transport => transport.supports.revoke) : []
    this.#submitter = init.submitter
    this.#neighbours = init.neighbours
    this.#clock = init.clock
    this.#copyPool = init.copyPool
    this.#inlineBytesMax = init.inlineBytesMax
    const onlySockets = init.transports.every(transport => transport.supports.sockets === true)
    this.#inlineAloneBytesMax = onlySockets
      ? (init.inlineBytesMax * INLINE_ALONE_BYTES_MAX) / INLINE_BYTES_MAX
      : init.inlineBytesMax
  }

  /**
   * What was copied from a neighbour counts, also where that does not answer for the rest.
   * @param bytes what they have together, as far as is known
   * @throws the signal's reason, where nobody was asked
   */
  async read(
    peer: PeerClient,
    tasks: readonly ReadTask[],
    bytes: number,
    options: PeerCallOptions,
  ): Promise<PeerRead> {
    const copied = await this.#neighbours.at(peer)?.read(tasks, options.signal)
    if (copied == null) {
      return { ...(await this.#askFor(peer, tasks, bytes, options)), asked: [...tasks.keys()] }
    }
    const asked = copied.flatMap((outcome, position) => (outcome == null ? [position] : []))
    if (asked.length === 0) return { outcomes: copied as ReadOutcome[], asked }
    const left = asked.map(position => tasks[position]!)
    const leftBytes = left.reduce((sum, { target }) => sum + target.byteLength, 0)
    const { outcomes, ...rest } = await this.#askFor(peer, left, Math.min(bytes, leftBytes), options)
    asked.forEach((position, i) => {
      copied[position] = outcomes[i]
    })
    return { outcomes: copied as ReadOutcome[], asked, ...rest }
  }

  /** Never rejects. */
  async #askFor(
    peer: PeerClient,
    tasks: readonly ReadTask[],
    bytes: number,
    options: PeerCallOptions,
  ): Promise<Omit<PeerRead, 'asked'>> {
    try {
      return { outcomes: await this.#ask(peer, tasks, bytes, options) }
    } catch (cause) {
      const error = asMooncakeError(cause)
      return { outcomes: tasks.map(() => ({ error, byteLength: 0 })), error }
    }
  }

  async #ask(
    peer: PeerClient,
    tasks: readonly ReadTask[],
    bytes: number,
    options: PeerCallOptions,
  ): Promise<ReadOutcome[]> {
    const isAlone = this.#reading === 0
    this.#reading++
    try {
      return bytes <= (isAlone ? this.#inlineAloneBytesMax : this.#inlineBytesMax)
        ? await this.#inline(peer, tasks, options)
        : await this.#byTransport(peer, tasks, options)
    } finally {
      this.#reading--
    }
  }

  async #inline(
    peer: PeerClient,
    tasks: readonly ReadTask[],
    options: PeerCallOptions,
  ): Promise<ReadOutcome[]> {
    let cursor: SliceCursor | undefined
    const request = {
      keys: tasks.map(task => task.key),
      capacities: tasks.map(task => task.target.byteLength),
    }
    const answer = await peer.readInline(request, {
      ...options,
      sink: (response, byteLength) => {
        const filled = new SliceCursor(attachedSlices(response, tasks, byteLength), this.#copyPool)
        cursor = filled
        return bytes => {
          filled.write(bytes)
        }
      },
    })
    if (cursor == null) attachedSlices(answer, tasks, 0)
    const outcomes = outcomesOf(answer, tasks)
    const { postponed } = answer
    if (postponed.length === 0) return outcomes
    const rest = await this.#byTransport(
      peer,
      postponed.map(position => tasks[position]!),
      options,
    )
    postponed.forEach((position, i) => {
      outcomes[position] = rest[i]!
    })
    return outcomes
  }

  async #byTransport(
    peer: PeerClient,
    tasks: readonly ReadTask[],
    options: PeerCallOptions,
  ): Promise<ReadOutcome[]> {
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
    let peerAtRest = false
    try {
      const items = tasks.map(({ key, target }) => ({ key, parts: announcement.locate(target) }))
      const results = await peer.read({ regions: announcement.regions, items }, options)
      // What failed to move may still be on its way; what was never begun is not.
      peerAtRest = results.every(({ code }) => code == null || code === 'ERR_OBJECT_NOT_FOUND')
      return tasks.map((_, index) => {
        const { code, ...outcome } = results[index] ?? { code: 'ERR_PROTOCOL', byteLength: 0 }
        return code == null ? outcome : { ...outcome, error: peerError(code) }
      })
    } finally {
      await announcement.revoke({ peerAtRest })
    }
  }

  async #forward(
    peer: PeerClient,
    tasks: readonly ReadTask[],
    options: PeerCallOptions,
  ): Promise<ReadOutcome[]> {
    const askedMs = this.#clock.nowMs()
    const keys = tasks.map(task => task.key)
    const pins = await peer.pinKeys({ keys }, options)
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

const NONE: ReadonlySet<number> = new Set()

/**
 * Where the attached bytes go.
 * @throws ERR_PROTOCOL for an answer that does not fit what was asked for, or what is attached to it
 */
function attachedSlices(
  { byteLengths, failed, codes, postponed }: InlineAnswer,
  tasks: readonly ReadTask[],
  attachedBytes: number,
): Slice[] {
  const absent = failed.length + postponed.length === 0 ? NONE : new Set([...failed, ...postponed])
  const slices: Slice[] = []
  let bytes = 0
  let fits = byteLengths.length === tasks.length && codes.length === failed.length
  for (const position of absent) fits &&= position < tasks.length
  for (let position = 0; fits && position < tasks.length; position++) {
    const byteLength = byteLengths[position]!
    if (byteLength === 0 || absent.has(position)) continue
    const { target } = tasks[position]!
    fits = byteLength <= target.byteLength
    bytes += byteLength
    if (fits) slices.push(subSlice(target, 0, byteLength))
  }
  if (fits && bytes === attachedBytes) return slices
  throw new MooncakeError('ERR_PROTOCOL', 'The peer answered something else than it was asked for')
}

function outcomesOf(
  { byteLengths, checksums, failed, codes }: InlineAnswer,
  tasks: readonly ReadTask[],
): ReadOutcome[] {
  const outcomes = tasks.map((_, position): ReadOutcome => {
    const byteLength = byteLengths[position]!
    const checksum = checksums?.[position]
    return checksum == null ? { byteLength } : { byteLength, checksum }
  })
  failed.forEach((position, i) => {
    outcomes[position] = { ...outcomes[position]!, error: peerError(codes[i]!) }
  })
  return outcomes
}
