import { join } from 'node:path'
import { expect } from 'chai'
import { run } from './support/programs.js'
import { workspaceRoot } from './support/workspace.js'

describe('examples/compose', function () {
  this.timeout(60_000)

  it('runs as it stands, and reads what it has put', async () => {
    const main = join(workspaceRoot, 'examples/compose/dist/compose.js')
    const { code, stdout, stderr } = await run(process.execPath, [main])
    expect(code, stderr).to.equal(0)
    const lines = stdout.toString().trimEnd().split('\n')
    expect(lines.at(-1)).to.equal('8 layers, 8388608 bytes')
    const layers = Array.from({ length: 8 }, (_, n) => `layer ${n} is ready: 1048576 bytes of ${n}`)
    expect(lines.slice(0, -1)).to.have.members(layers)
  })
})
