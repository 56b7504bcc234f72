import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { expect } from 'chai'
import { nothingMoreThan, openThings, socketDirectory } from './support.js'

const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url))

describe('The native core', () => {
  it('passes its tests under the address and undefined behaviour sanitizers', () => {
    const args = ['../../scripts/test-native.mjs', 'address']
    const output = execFileSync(process.execPath, args, { encoding: 'utf8', cwd: path('..') })
    expect(output).to.contain('native tests passed')
  }).timeout(120_000)
})

describe('a worker thread', function () {
  this.timeout(30_000)
  const directory = socketDirectory()

  for (const how of ['exit', 'terminate']) {
    it(`that ends by ${how} with connections open leaves nothing behind`, async () => {
      const before = openThings()
      for (let round = 0; round < 3; round++) {
        const workerData = { socketDirectory: directory, how }
        const worker = new Worker(path('fixtures/worker.js'), { workerData })
        const exited = once(worker, 'exit')
        if (how === 'terminate') {
          await once(worker, 'message')
          await worker.terminate()
        }
        await exited
      }
      await nothingMoreThan(before)
    })
  }
})
