import { expect } from 'chai'
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { uringRefused } from './support.js'

const CHILD = fileURLToPath(new URL('./death/child.js', import.meta.url))
const DEADLINE_MS = 10_000

interface End {
  code: number | string | null
  stdout: string
  stderr: string
}

function run(scenario: string, place: readonly [string, string]): Promise<End> {
  return new Promise(resolve => {
    const args = ['--expose-gc', CHILD, scenario, ...place]
    execFile(
      process.execPath,
      args,
      { timeout: DEADLINE_MS, killSignal: 'SIGKILL' },
      (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : (error.signal ?? error.code ?? null), stdout, stderr })
      },
    )
  })
}

// Every way in which a process or a worker can end, with the kernel and our threads still at work.
for (const place of [
  ['io_uring', 'inline'],
  ['io_uring', 'bulk'],
  ['threads', 'inline'],
] as const) {
  describe(`the end of a process (${place.join(', ')})`, () => {
    before(function () {
      if (place[0] === 'io_uring' && uringRefused) this.skip()
    })

    const ends: [what: string, scenario: string, expected: Omit<End, 'stderr'>][] = [
      ['process.exit with work in flight', 'exit', { code: 7, stdout: '' }],
      ['by itself when nothing is in flight', 'natural', { code: 0, stdout: 'ended\n' }],
      ['by itself with an unreferenced receive', 'unref', { code: 0, stdout: 'ended\n' }],
      ['not before a receive has ended', 'ref', { code: 0, stdout: 'received 0\n' }],
      [
        'garbage collection of engines, not of operations',
        'collect',
        { code: 0, stdout: 'received 0\ncollected\n' },
      ],
      ['workers terminated with work in flight', 'terminate', { code: 0, stdout: 'ended\n' }],
      ['two workers at once', 'workers', { code: 0, stdout: 'ended\n' }],
    ]
    for (const [what, scenario, expected] of ends) {
      it(what, async () => {
        const { stderr, ...end } = await run(scenario, place)
        expect(end, stderr).to.deep.equal(expected)
      }).timeout(DEADLINE_MS + 1000)
    }

    it('an uncaught error with work in flight', async () => {
      const end = await run('throw', place)
      expect(end.code).to.equal(1)
      expect(end.stderr).to.contain('on purpose')
    }).timeout(DEADLINE_MS + 1000)
  })
}
