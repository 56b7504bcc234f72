import type { CopyPool, RpcContext, Slice } from '@mooncake-ts/core'
import type { Lease, TieredBackend } from '../local/tiered-backend.js'
import { INLINE_ALONE_BYTES_MAX, type ReadInline } from './protocol.js'
import { SendBuffers } from './send-buffers.js'

type Request = ReturnType<typeof ReadInline.parseRequest>
type Response = ReturnType<typeof ReadInline.parseResponse>

/**
 * Serves ReadInline: copies small objects that lie in memory into the answer, at once and without a promise.
 */
export class InlineReader {
  readonly #backend: TieredBackend
  readonly #copyPool: CopyPool
  readonly #buffers = new SendBuffers(INLINE_ALONE_BYTES_MAX)

  constructor(backend: TieredBackend, copyPool: CopyPool) {
    this.#backend = backend
    this.#copyPool = copyPool
  }

  /** @throws ERR_SHUTTING_DOWN */
  serve({ keys, capacities }: Request, attach: RpcContext['attach']): Response {
    const response: Response = { byteLengths: [], failed: [], codes: [], postponed: [] }
    const leases: Lease[] = []
    const slices: Slice[] = []
    let bytes = 0
    try {
      keys.forEach((key, position) => {
        const lease = this.#backend.acquire(key)
        if (lease != null) leases.push(lease)
        const byteLength = lease?.meta.byteLength ?? 0
        response.byteLengths.push(byteLength)
        const code = codeOf(lease, capacities[position] ?? 0)
        if (code != null) {
          response.failed.push(position)
          response.codes.push(code)
        } else if (lease?.slice == null || bytes + byteLength > INLINE_ALONE_BYTES_MAX) {
          response.postponed.push(position)
        } else {
          slices.push(lease.slice)
          bytes += byteLength
          if (lease.meta.checksum != null) noteChecksum(response, position, lease.meta.checksum)
        }
      })
      if (bytes > 0) {
        const buffer = this.#buffers.take(bytes)
        const attached = buffer.subarray(0, bytes)
        attach(attached, () => {
          this.#buffers.giveBack(buffer)
        })
        this.#copyPool.gather(slices, attached)
      }
      return response
    } finally {
      for (const lease of leases) lease.release()
    }
  }
}

function codeOf(lease: Lease | undefined, capacity: number): string | undefined {
  if (lease == null) return 'ERR_OBJECT_NOT_FOUND'
  return lease.meta.byteLength > capacity ? 'ERR_BUFFER_OVERFLOW' : undefined
}

/** Most objects have none, and most batches no such column. */
function noteChecksum(response: Response, position: number, checksum: number): void {
  response.checksums ??= response.byteLengths.map(() => null)
  while (response.checksums.length < position) response.checksums.push(null)
  response.checksums[position] = checksum
}
