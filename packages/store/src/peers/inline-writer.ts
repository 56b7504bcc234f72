import { asMooncakeError, MooncakeError } from '@mooncake-ts/core'
import type { CopyPool, RpcContext, Slice } from '@mooncake-ts/core'
import type { ObjectMeta, Reservation, TieredBackend } from '../local/tiered-backend.js'
import { SliceCursor, type Gap } from '../transfer/slice-cursor.js'
import type { Committer } from './committer.js'
import { metaOf } from './meta-of.js'
import type { WriteInline } from './protocol.js'
import type { Unannounced } from './unannounced.js'
import type { WritesInFlight } from './writes-in-flight.js'

type Request = ReturnType<typeof WriteInline.parseRequest>
type Response = ReturnType<typeof WriteInline.parseResponse>

/** Space for one of the objects. */
interface Target {
  readonly position: number
  readonly reservation: Reservation
}

export interface InlineWriterInit {
  readonly backend: TieredBackend
  readonly copyPool: CopyPool
  readonly committer: Committer
  readonly writes: WritesInFlight
  readonly unannounced: Unannounced
  readonly nodeId: string
}

/** Serves WriteInline: small objects come with the request, and go where there is room at once. */
export class InlineWriter {
  readonly #init: InlineWriterInit

  constructor(init: InlineWriterInit) {
    this.#init = init
  }

  /** @throws ERR_INVALID_PARAMS for columns that do not fit; what ends the attachment before it has come */
  async serve(request: Request, { attachment }: Pick<RpcContext, 'attachment'>): Promise<Response> {
    assertColumns(request, attachment?.byteLength ?? 0)
    const { leasedFor = this.#init.nodeId } = request
    if (leasedFor !== this.#init.nodeId) {
      throw new MooncakeError('ERR_LEASE_EXPIRED', 'The lease is for an earlier life of this node')
    }
    const response: Response = { existed: [], failed: [], codes: [], messages: [] }
    const places: Array<Slice | Gap> = []
    const targets: Target[] = []
    const waits: Promise<void>[] = []
    request.keys.forEach((key, position) => {
      const byteLength = request.byteLengths[position]!
      const known = request.upsert ? undefined : this.#known(key, position, response)
      if (known != null) waits.push(known)
      const target = known == null ? this.#reserve(byteLength, position, response) : undefined
      if (target != null) targets.push(target)
      places.push(target?.reservation.slice ?? { byteLength })
    })
    const written = this.#write(request, attachment, places, targets, response)
    const { writes } = this.#init
    if (!request.upsert && targets.length > 0) {
      writes.trackMany(
        targets.map(({ position }) => request.keys[position]!),
        written,
      )
    }
    await Promise.all([written, ...waits])
    return response
  }

  /** Settles when it is clear what becomes of a key that has a value here, or is about to get one. */
  #known(key: string, position: number, response: Response): Promise<void> | undefined {
    const { backend, unannounced, writes } = this.#init
    const exists = async (): Promise<void> => {
      await unannounced.answered([{ key }])
      // The directory may have preferred another node's value; then that exists.
      response.existed.push(position)
    }
    if (backend.has(key)) return exists()
    const earlier = writes.earlier(key)
    if (earlier == null) return undefined
    return (async () => {
      await earlier.catch(() => {})
      if (backend.has(key)) await exists()
      else
        fail(response, position, new MooncakeError('ERR_REPLICA_IS_PROCESSING', `A write of ${key} failed`))
    })()
  }

  #reserve(byteLength: number, position: number, response: Response): Target | undefined {
    try {
      const reservation = this.#init.backend.reserveNow(byteLength)
      if (reservation == null) throw new MooncakeError('ERR_NO_AVAILABLE_HANDLE')
      if (reservation.slice != null) return { position, reservation }
      reservation.abandon()
      throw new MooncakeError('ERR_NOT_SUPPORTED', 'There is only room in a tier without memory addresses')
    } catch (error) {
      fail(response, position, error)
      return undefined
    }
  }

  async #write(
    request: Request,
    attachment: RpcContext['attachment'],
    places: ReadonlyArray<Slice | Gap>,
    targets: readonly Target[],
    response: Response,
  ): Promise<void> {
    const cursor = new SliceCursor(places, this.#init.copyPool)
    try {
      await attachment?.receive(bytes => {
        cursor.write(bytes)
      })
    } catch (error) {
      for (const { reservation } of targets) reservation.abandon()
      throw error
    }
    await this.#commit(request, targets, response)
  }

  async #commit(request: Request, targets: readonly Target[], response: Response): Promise<void> {
    const leased = request.leasedFor != null
    const commits = targets.map(({ position, reservation }) => ({
      reservation,
      meta: metaAt(request, position),
    }))
    const outcomes = await this.#init.committer.commitMany(commits, request.upsert ? 'upsert' : 'put', leased)
    outcomes.forEach(({ existed, error }, i) => {
      const { position } = targets[i]!
      if (error != null) fail(response, position, error)
      // With an old number, "not absent" may be about a value that nobody can reach: the directory has to say.
      else if (existed && leased) fail(response, position, leaseExpired())
      else if (existed) response.existed.push(position)
    })
  }
}

export function leaseExpired(): MooncakeError {
  return new MooncakeError('ERR_LEASE_EXPIRED', 'Another value may be there')
}

function fail(response: Response, position: number, error: unknown): void {
  const { code, message } = asMooncakeError(error)
  response.failed.push(position)
  response.codes.push(code)
  response.messages.push(message)
}

function metaAt(request: Request, position: number): ObjectMeta {
  const checksum = request.checksums?.[position]
  const index = request.batchIndexes?.[position]
  const { batchCount } = request
  const spec = {
    key: request.keys[position]!,
    byteLength: request.byteLengths[position]!,
    generation: request.generations[position]!,
    ...(checksum == null ? {} : { checksum }),
    ...(index == null || batchCount == null ? {} : { place: { index, count: batchCount } }),
  }
  return metaOf(spec, request)
}

function assertColumns(request: Request, attachedBytes: number): void {
  const { keys, byteLengths, generations, checksums, batchIndexes } = request
  let bytes = 0
  for (const byteLength of byteLengths) bytes += byteLength
  const columns = [byteLengths, generations, checksums ?? keys, batchIndexes ?? keys]
  if (columns.every(column => column.length === keys.length) && bytes === attachedBytes) return
  throw new MooncakeError('ERR_INVALID_PARAMS', 'The columns do not fit together, or not what is attached')
}
