import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { native } from '../dist/native.js'

describe('the native core', () => {
  // Compiles when the sources changed. `npm run test:native` adds the thread sanitizer.
  it('passes its tests under the address and undefined behaviour sanitizers', function () {
    try {
      native()
    } catch {
      this.skip() // No headers to build it with.
    }
    const args = ['../../scripts/test-native.mjs', 'address']
    const cwd = fileURLToPath(new URL('..', import.meta.url))
    const output = execFileSync(process.execPath, args, { encoding: 'utf8', cwd })
    expect(output).to.match(/^ok$/m)
  }).timeout(300_000)
})
