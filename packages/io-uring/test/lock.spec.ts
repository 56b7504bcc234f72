import { expect } from 'chai'
import { closeSync, openSync, writeFileSync } from 'node:fs'
import { tryLockFile } from '@mooncake-ts/io-uring'
import { rejectsWith } from '@mooncake-ts/testkit'
import { useDirectory } from './support.js'

describe('tryLockFile', () => {
  const directory = useDirectory()

  it('has one owner at a time, until that closes the file', async () => {
    writeFileSync(directory.path('lock'), '')
    const first = openSync(directory.path('lock'), 'r+')
    const second = openSync(directory.path('lock'), 'r+')
    expect(tryLockFile(first)).to.equal(true)
    expect(tryLockFile(first), 'again').to.equal(true)
    expect(tryLockFile(second)).to.equal(false)
    closeSync(first)
    expect(tryLockFile(second)).to.equal(true)
    closeSync(second)
    await rejectsWith(() => tryLockFile(second), 'ERR_IO')
  })
})
