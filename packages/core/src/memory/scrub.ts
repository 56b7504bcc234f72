import type { Slice } from '../contracts/memory.js'
import { MIB } from '../units.js'

/** Some milliseconds; also, no view spans more than 4 GiB. */
const TURN_BYTES_MAX = 16 * MIB

/**
 * Fills with zeros what must not be seen, and then calls `done`: at once for up to 16 MiB, else in several turns of the
 * event loop.
 */
export function scrub({ region, offset, byteLength }: Slice, done: () => void): void {
  const turnBytes = Math.min(byteLength, TURN_BYTES_MAX)
  if (!region.closed) region.view(offset, turnBytes).fill(0)
  if (turnBytes === byteLength || region.closed) done()
  else setImmediate(scrub, { region, offset: offset + turnBytes, byteLength: byteLength - turnBytes }, done)
}
