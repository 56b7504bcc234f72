import { mkdtempSync, rmSync } from 'node:fs'
import { mib } from '@mooncake-ts/core'
import { createIoEngine } from '@mooncake-ts/io-uring'
import { tierCompliance } from '@mooncake-ts/testkit'
import { ssd, type SsdOptions } from '@mooncake-ts/tier-ssd'

const capacityBytes = mib(16)

/** @param root on a disk, or in memory */
function compliance(name: string, root: string, options: Partial<SsdOptions> = {}): void {
  let directory: string
  const reopen = (): ReturnType<typeof ssd> => ssd({ directory, capacityBytes, ...options })
  tierCompliance(name, {
    capacityBytes,
    create: () => {
      directory = mkdtempSync(root)
      return reopen()
    },
    reopen,
    teardown: () => {
      rmSync(directory, { recursive: true })
    },
  })
}

compliance('ssd', '/var/tmp/mooncake-ssd-')
compliance('ssd, ack-on-fsync, small files', '/var/tmp/mooncake-ssd-', {
  durability: 'ack-on-fsync',
  fileBytes: mib(1),
})
compliance('ssd with little staging and depth', '/var/tmp/mooncake-ssd-', {
  stagingBytes: mib(1),
  queueDepth: 2,
})
compliance('ssd by threads', '/var/tmp/mooncake-ssd-', {
  createEngine: () => createIoEngine({ engine: 'threads' }),
})
compliance('ssd in memory', '/dev/shm/mooncake-ssd-')
