import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'

const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url))

describe('the native core', () => {
  // Compiles when the sources changed. `npm run test:native` adds the thread sanitizer.
  it('passes its tests under the address and undefined behaviour sanitizers', () => {
    const args = ['../../scripts/test-native.mjs', 'address']
    const output = execFileSync(process.execPath, args, { encoding: 'utf8', cwd: path('..') })
    expect(output).to.match(/^ok$/m)
  }).timeout(300_000)
})

describe('where io_uring is refused', () => {
  it('takes the threads engine and says why, unless io_uring was asked for', () => {
    mkdirSync(path('../build'), { recursive: true })
    const refuse = path('../build/refuse-uring')
    execFileSync(process.env['CC'] ?? 'cc', ['-o', refuse, path('../native/test/refuse_uring.c')])
    const script = `
      import { createIoEngine } from '@mooncake-ts/io-uring'
      const engine = createIoEngine()
      console.log(engine.kind, engine.reason)
      try { createIoEngine({ engine: 'io_uring' }) } catch (error) { console.log(error.code) }`
    const environment = { ...process.env, MOONCAKE_IO_ENGINE: '' }
    const args = [process.execPath, '--input-type=module', '--eval', script]
    const output = execFileSync(refuse, args, { encoding: 'utf8', env: environment, cwd: path('.') })
    expect(output).to.equal('threads io_uring_setup: EPERM\nERR_NOT_SUPPORTED\n')
  }).timeout(30_000)
})
