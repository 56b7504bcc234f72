import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { expect } from 'chai'
import { packageRoot } from './support.js'

const SANITIZER_UNAVAILABLE = 77

describe('The native core', function () {
  // The first run compiles it.
  this.timeout(120_000)

  for (const sanitizer of ['address', 'thread']) {
    it(`passes its tests under the ${sanitizer} sanitizer`, async function () {
      const child = spawn(process.execPath, ['../../scripts/test-native.mjs', sanitizer], {
        cwd: packageRoot,
      })
      const [stdout, stderr, [code]] = await Promise.all([
        text(child.stdout),
        text(child.stderr),
        once(child, 'close') as Promise<[number | null]>,
      ])
      if (code === SANITIZER_UNAVAILABLE) this.skip()
      expect({ code, stderr }).to.deep.equal({ code: 0, stderr: '' })
      expect(stdout).to.contain('native tests passed')
    })
  }
})
