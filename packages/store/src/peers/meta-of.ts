import type { ObjectMeta } from '../local/tiered-backend.js'
import type { WriteItemSpec } from './protocol.js'

/** What an owner keeps of an object that it was asked to write. */
export function metaOf(
  { key, byteLength, generation, checksum, place }: Omit<WriteItemSpec, 'parts'>,
  { softPin, hardPin }: { readonly softPin: boolean; readonly hardPin: boolean },
): ObjectMeta {
  return {
    key,
    byteLength,
    generation,
    softPin,
    hardPin,
    ...(checksum == null ? {} : { checksum }),
    ...(place == null ? {} : { place }),
  }
}
