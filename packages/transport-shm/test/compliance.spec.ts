import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { transportCompliance } from '@mooncake-ts/testkit'
import { shm } from '@mooncake-ts/transport-shm'

const socketDirectory = mkdtempSync(join(tmpdir(), 'shm-'))
after(() => {
  rmSync(socketDirectory, { recursive: true })
})

transportCompliance('transport-shm', { create: () => shm({ socketDirectory }) })
transportCompliance('transport-shm in small runs', {
  create: () => shm({ socketDirectory, copyRunBytes: 128 * 1024 }),
})
