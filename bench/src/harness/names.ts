import { formatBytes } from '@mooncake-ts/core'

/** `4KiB`, as it stands in the names of figures. */
export function sizeName(bytes: number): string {
  return formatBytes(bytes).replace(' ', '').replace(/\.0+/, '')
}
