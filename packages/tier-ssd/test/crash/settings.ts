import { kib, mib } from '@mooncake-ts/core'

/**
 * Small, so that places are used again soon, objects go on in the next file, and the index is compacted
 * often.
 */
export const settings = {
  capacityBytes: mib(4),
  fileBytes: mib(1),
  stagingBytes: mib(1),
  indexSlackBytes: kib(16),
}
