import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { run } from './support/programs.js'
import { workspaceRoot } from './support/workspace.js'

interface Result {
  readonly name: string
  readonly value: number
  readonly unit: string
  readonly better: 'more' | 'less'
  readonly p50Us?: number
  readonly p99Us?: number
  readonly ceiling?: number
  readonly ratio?: number
}

describe('npm run bench', function () {
  this.timeout(240_000)

  it('runs every suite, and writes its figures in the agreed form', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'mooncake-bench-'))
    try {
      const json = join(dir, 'out.json')
      const html = join(dir, 'out.html')
      const main = join(workspaceRoot, 'bench/dist/main.js')
      const { code, stderr } = await run(
        process.execPath,
        [main, '--short', '--json', json, '--html', html],
        {
          cwd: workspaceRoot,
          timeoutMs: 220_000,
        },
      )
      expect(code, stderr).to.equal(0)
      const { commit, machine, results } = JSON.parse(await readFile(json, 'utf8')) as {
        commit: unknown
        machine: unknown
        results: Result[]
      }
      expect(commit).to.be.a('string').that.is.not.empty
      expect(machine).to.be.a('string').that.is.not.empty
      const names = results.map(result => result.name)
      expect(new Set(names).size).to.equal(names.length)
      expect(new Set(names.map(name => name.split('/')[0]))).to.include.keys(
        'tcp',
        'small',
        'rpc',
        'master',
        'replay',
        'rivals',
      )
      expect(names).to.include.members(['tcp/get/4KiB/batch1', 'tcp/put/1MiB/batch32'])
      for (const { name, value, unit, p50Us, p99Us, ceiling, ratio, better } of results) {
        expect(value, name).to.be.above(0)
        expect(unit, name).to.be.a('string').that.is.not.empty
        if (p50Us != null) expect(p99Us, name).to.be.at.least(p50Us)
        if (better === 'more' && ceiling != null) expect(ratio, name).to.be.closeTo(value / ceiling, 1e-9)
        if (better === 'less' && ceiling != null) expect(ratio, name).to.be.closeTo(ceiling / value, 1e-9)
      }
      const page = await readFile(html, 'utf8')
      expect(page).to.include('<canvas').and.include('small/get/4KiB')
      expect(page, 'a page that needs the network').to.not.match(/<(script|link|img)[^>]+(src|href)=/)
    } finally {
      await rm(dir, { recursive: true, force: true })
    }
  })
})
