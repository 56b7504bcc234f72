import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'

describe('the native core', () => {
  // Compiles when the sources changed. `npm run test:native` adds the thread sanitizer.
  it('passes its tests under the address and undefined behaviour sanitizers', () => {
    const script = fileURLToPath(new URL('../scripts/test-native.mjs', import.meta.url))
    expect(execFileSync(process.execPath, [script, 'address'], { encoding: 'utf8' })).to.match(/^ok$/m)
  }).timeout(180_000)
})
