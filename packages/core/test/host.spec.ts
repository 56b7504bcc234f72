import { expect } from 'chai'
import {
  CLOCK,
  definePlugin,
  Host,
  LOGGER,
  METRICS,
  SECURITY,
  silentLogger,
  systemClock,
  token,
  value,
  type Logger,
  type Plugin,
  type Startable,
  type Token,
} from '@mooncake-ts/core'
import { Deferred, failure, turn } from './support.js'

interface Part extends Startable {
  readonly name: string
}

const A = token<Part>('test/A')
const B = token<Part>('test/B')
const C = token<Part>('test/C')

/** Plugins that write down what happens to them. */
class Journal {
  readonly lines: string[] = []

  plugin(name: string, provides: Token<Part>, requires: Token<unknown>[] = [], life: Startable = {}): Plugin {
    const make = (): Part => {
      this.lines.push(`make ${name}`)
      return {
        name,
        start: async signal => {
          this.lines.push(`start ${name}`)
          await life.start?.(signal)
        },
        stop: async () => {
          this.lines.push(`stop ${name}`)
          await life.stop?.()
        },
      }
    }
    return definePlugin<Part>({ name, provides, requires, useFactory: make })()
  }

  only(verb: 'make' | 'start' | 'stop'): string {
    const own = this.lines.filter(line => line.startsWith(`${verb} `))
    return own.map(line => line.slice(verb.length + 1)).join(' ')
  }
}

describe('Host: order', () => {
  it('starts every plugin after what it requires, whatever the order given', async () => {
    const journal = new Journal()
    const plugins = [journal.plugin('c', C, [B, A]), journal.plugin('b', B, [A]), journal.plugin('a', A)]
    await using host = await new Host(plugins).start()
    expect(journal.only('make')).to.equal('a b c')
    expect(journal.only('start')).to.equal('a b c')
    expect(host.get(C).name).to.equal('c')
  })

  it('keeps the order given where nothing is required', async () => {
    const journal = new Journal()
    const host = new Host([journal.plugin('b', B), journal.plugin('c', C), journal.plugin('a', A)])
    expect(journal.only('make')).to.equal('b c a')
    await host.stop()
  })

  it('makes nothing start before every provider of what it requires', () => {
    const journal = new Journal()
    new Host([journal.plugin('b', B, [A]), journal.plugin('a1', A), journal.plugin('a2', A)])
    expect(journal.only('make')).to.equal('a1 a2 b')
  })

  it('makes what a plugin uses before it, where somebody provides that', () => {
    const using = definePlugin<Part>({
      name: 'b',
      provides: B,
      uses: [A, C],
      useFactory: (_options, scope) => ({
        name: `uses ${scope.getAll(A).length} and ${scope.getAll(C).length}`,
      }),
    })()
    const host = new Host([using, new Journal().plugin('a', A)])
    expect(host.get(B).name).to.equal('uses 1 and 0')
  })

  it('hands out several providers of one token in the order of the composition', () => {
    const journal = new Journal()
    const plugins = [journal.plugin('a1', A, [B]), journal.plugin('a2', A), journal.plugin('b', B)]
    const names = new Host(plugins).getAll(A).map(part => part.name)
    expect(names).to.deep.equal(['a1', 'a2'])
    expect(journal.only('make')).to.equal('b a1 a2')
  })

  it('makes two instances of a plugin that is given twice', () => {
    const journal = new Journal()
    const twice = journal.plugin('a', A)
    const [first, second] = new Host([twice, twice]).getAll(A)
    expect(first).to.not.equal(second)
  })

  it('gives an empty list for a token that nobody provides', () => {
    expect(new Host([]).getAll(A)).to.deep.equal([])
  })
})

describe('Host: requirements', () => {
  it('names the plugin and the token that nobody provides', async () => {
    const error = await failure(() => new Host([new Journal().plugin('needy', B, [CLOCK, A])]))
    expect(error.code).to.equal('ERR_PLUGIN_UNMET_REQUIREMENT')
    expect(error.message).to.include('needy').and.include('test/A')
  })

  it('names what is missing, not what is there, when others wait too', async () => {
    const journal = new Journal()
    const plugins = [journal.plugin('a', A, [CLOCK, B]), journal.plugin('b', B, [CLOCK, C])]
    const error = await failure(() => new Host(plugins))
    expect(error.message).to.include('b requires').and.include('test/C')
  })

  it('names the circle, and nothing beside it', async () => {
    const journal = new Journal()
    const D = token<Part>('test/D')
    const plugins = [
      journal.plugin('outside', D, [CLOCK, A]),
      journal.plugin('a', A, [CLOCK, B]),
      journal.plugin('b', B, [A]),
    ]
    const error = await failure(() => new Host(plugins))
    expect(error.code).to.equal('ERR_PLUGIN_UNMET_REQUIREMENT')
    expect(error.message).to.match(/circle: a → b → a$/)
  })

  it('refuses a plugin that requires what only it provides', async () => {
    const error = await failure(() => new Host([new Journal().plugin('self', A, [A])]))
    expect(error.message).to.match(/circle: self → self$/)
  })

  it('makes nothing when a requirement is not met', async () => {
    const journal = new Journal()
    await failure(() => new Host([journal.plugin('a', A), journal.plugin('c', C, [B])]))
    expect(journal.lines).to.deep.equal([])
  })

  it('refuses a plugin of another API version, naming both versions', async () => {
    const plugin = { ...new Journal().plugin('future', A), api: 2 }
    const error = await failure(() => new Host([plugin]))
    expect(error.code).to.equal('ERR_PLUGIN_API_VERSION')
    expect(error.message).to.include('future').and.include('API 2').and.include('has 1')
  })

  it('tells a factory that asks for what it did not declare', async () => {
    const careless = definePlugin<Part>({
      name: 'careless',
      provides: A,
      useFactory: (_options, scope) => ({ name: scope.get(B).name }),
    })
    const error = await failure(() => new Host([careless(), new Journal().plugin('b', B)]))
    expect(error.code).to.equal('ERR_PLUGIN_UNMET_REQUIREMENT')
    expect(error.message).to.include('careless').and.include('requires')
  })

  it('has no instance of a token that nobody provides', async () => {
    const error = await failure(() => new Host([]).get(A))
    expect(error.code).to.equal('ERR_PLUGIN_UNMET_REQUIREMENT')
  })
})

describe('Host: defaults', () => {
  it('provides a clock, a silent logger, metrics and closed security', () => {
    const host = new Host([])
    expect(host.get(CLOCK)).to.equal(systemClock)
    expect(host.get(LOGGER)).to.equal(silentLogger)
    expect(host.get(SECURITY)).to.deep.equal({ allowInsecure: false })
    expect(() => host.get(METRICS).counter({ name: 'n', help: 'h' }).add()).not.to.throw()
  })

  it('prefers what the composition provides, and makes it before those who require it', () => {
    const logger: Logger = { ...silentLogger }
    const seen: Logger[] = []
    const user = definePlugin<Part>({
      name: 'user',
      provides: A,
      requires: [LOGGER],
      useFactory: (_options, scope) => {
        seen.push(scope.get(LOGGER))
        return { name: 'user' }
      },
    })
    const host = new Host([user(), value(LOGGER, logger)])
    expect(seen).to.deep.equal([logger])
    expect(host.getAll(LOGGER)).to.deep.equal([logger])
  })

  it('shares nothing between two hosts', () => {
    const journal = new Journal()
    const plugin = journal.plugin('a', A)
    expect(new Host([plugin]).get(A)).to.not.equal(new Host([plugin]).get(A))
    expect(new Host([]).getAll(A)).to.deep.equal([])
  })
})

describe('Host: life', () => {
  it('stops in the reverse order of start', async () => {
    const journal = new Journal()
    const host = new Host([journal.plugin('b', B, [A]), journal.plugin('a', A), journal.plugin('c', C)])
    await host.start()
    await host.stop()
    expect(journal.only('start')).to.equal('a b c')
    expect(journal.only('stop')).to.equal('c b a')
  })

  it('waits for one start before the next, and for one stop before the next', async () => {
    const journal = new Journal()
    const starting = new Deferred()
    const stopping = new Deferred()
    const host = new Host([
      journal.plugin('a', A, [], { start: () => starting.promise }),
      journal.plugin('b', B, [], { stop: () => stopping.promise }),
    ])
    const started = host.start()
    await turn()
    expect(journal.only('start')).to.equal('a')
    starting.resolve()
    await started
    const stopped = host.stop()
    await turn()
    expect(journal.only('stop')).to.equal('b')
    stopping.resolve()
    await stopped
    expect(journal.only('stop')).to.equal('b a')
  })

  it('stops once, however often it is asked', async () => {
    const journal = new Journal()
    const host = await new Host([journal.plugin('a', A)]).start()
    expect(host.stop()).to.equal(host.stop())
    await host[Symbol.asyncDispose]()
    expect(journal.only('stop')).to.equal('a')
  })

  it('asks the others to stop when one cannot, and says what went wrong', async () => {
    const journal = new Journal()
    const broken = new Error('stuck')
    const host = await new Host([
      journal.plugin('a', A),
      journal.plugin('b', B, [], { stop: () => Promise.reject(broken) }),
    ]).start()
    const error = (await failure(() => host.stop())) as AggregateError
    expect(error.errors).to.deep.equal([broken])
    expect(journal.only('stop')).to.equal('b a')
  })

  it('neither starts nor stops a value: its owner does', async () => {
    const journal = new Journal()
    const owned: Part = {
      name: 'owned',
      start: () => void journal.lines.push('start owned'),
      stop: () => void journal.lines.push('stop owned'),
    }
    const host = await new Host([value(A, owned)]).start()
    expect(host.get(A)).to.equal(owned)
    await host.stop()
    expect(journal.lines).to.deep.equal([])
  })

  it('stops nothing that was never started', async () => {
    const journal = new Journal()
    await new Host([journal.plugin('a', A)]).stop()
    expect(journal.only('stop')).to.equal('')
  })

  it('starts only once', async () => {
    const journal = new Journal()
    await using host = await new Host([journal.plugin('a', A)]).start()
    expect(await failure(() => host.start())).to.be.instanceOf(TypeError)
    expect(journal.only('start')).to.equal('a')
    expect(journal.only('stop')).to.equal('')
  })

  it('does not start after it was stopped', async () => {
    const journal = new Journal()
    const host = new Host([journal.plugin('a', A)])
    await host.stop()
    expect((await failure(() => host.start())).code).to.equal('ERR_SHUTTING_DOWN')
    expect(journal.only('start')).to.equal('')
  })
})

describe('Host: a start that does not succeed', () => {
  it('stops what ran in reverse, the failed one first, and gives the cause', async () => {
    const journal = new Journal()
    const cause = new Error('no such device')
    const host = new Host([
      journal.plugin('a', A),
      journal.plugin('b', B, [], { start: () => Promise.reject(cause) }),
      journal.plugin('c', C),
    ])
    const error = await failure(() => host.start())
    expect(error.code).to.equal('ERR_PLUGIN_START')
    expect(error.message).to.include('b failed to start').and.include('no such device')
    expect(error.cause).to.equal(cause)
    expect(journal.only('start')).to.equal('a b')
    expect(journal.only('stop')).to.equal('b a')
  })

  it('takes a start that throws synchronously for a failed one', async () => {
    const host = new Host([
      value(A, { name: 'a' }),
      definePlugin<Part>({
        name: 'thrower',
        provides: B,
        useFactory: () => ({
          name: 'thrower',
          start: () => {
            throw new Error('at once')
          },
        }),
      })(),
    ])
    expect((await failure(() => host.start())).message).to.include('at once')
  })

  it('gives the reason for the failed start, not what broke on the way down', async () => {
    const journal = new Journal()
    const host = new Host([
      journal.plugin('a', A, [], { stop: () => Promise.reject(new Error('second')) }),
      journal.plugin('b', B, [], { start: () => Promise.reject(new Error('first')) }),
    ])
    expect((await failure(() => host.start())).message).to.include('first')
  })

  it('names the plugin that did not start in time, and aborts its signal', async () => {
    const journal = new Journal()
    const signals: AbortSignal[] = []
    const start = (signal: AbortSignal): Promise<void> => {
      signals.push(signal)
      return new Promise(() => {})
    }
    const host = new Host([journal.plugin('a', A), journal.plugin('slow', B, [], { start })], {
      startTimeoutMs: 5,
    })
    const error = await failure(() => host.start())
    expect(error.code).to.equal('ERR_PLUGIN_START')
    expect(error.message).to.equal('slow did not start within 5 ms')
    expect(signals[0]!.aborted).to.equal(true)
    expect(journal.only('stop')).to.equal('slow a')
  })

  it('names it also when the plugin wraps the reason, as the functions of Node do', async () => {
    const start = (signal: AbortSignal): Promise<void> => neverEnds(signal)
    const host = new Host([new Journal().plugin('slow', B, [], { start })], { startTimeoutMs: 5 })
    expect((await failure(() => host.start())).message).to.equal('slow did not start within 5 ms')
  })

  it('rejects with the reason of the signal, and stops what ran', async () => {
    const journal = new Journal()
    const controller = new AbortController()
    const reason = new Error('enough')
    const host = new Host([
      journal.plugin('a', A),
      journal.plugin('b', B, [], { start: () => new Promise(() => controller.abort(reason)) }),
      journal.plugin('c', C),
    ])
    expect(await failure(() => host.start(controller.signal))).to.equal(reason)
    expect(journal.only('start')).to.equal('a b')
    expect(journal.only('stop')).to.equal('b a')
  })

  it('starts nothing when the signal has aborted before', async () => {
    const journal = new Journal()
    const reason = new Error('too late')
    const host = new Host([journal.plugin('a', A)])
    expect(await failure(() => host.start(AbortSignal.abort(reason)))).to.equal(reason)
    expect(journal.only('start')).to.equal('')
  })

  it('starts nothing more when it is stopped meanwhile', async () => {
    const journal = new Journal()
    const starting = new Deferred()
    const host = new Host([
      journal.plugin('a', A, [], { start: () => starting.promise }),
      journal.plugin('b', B),
    ])
    const started = failure(() => host.start())
    await turn()
    await host.stop()
    starting.resolve()
    expect((await started).code).to.equal('ERR_SHUTTING_DOWN')
    expect(journal.only('start')).to.equal('a')
    expect(journal.only('stop')).to.equal('a')
  })
})

describe('Host: explain', () => {
  it('tells what was composed, in the order of start, with options and times', async () => {
    const sized = definePlugin<Part, { sizeBytes: number }>({
      name: 'sized',
      provides: B,
      requires: [A],
      useFactory: () => ({ name: 'sized' }),
    })
    const host = new Host([sized({ sizeBytes: 7 }), value(A, { name: 'a' })])
    const before = host.explain()
    expect(before.map(report => report.name)).to.deep.equal(['value of A', 'sized'])
    expect(before[1]).to.deep.equal({
      name: 'sized',
      provides: 'B',
      requires: ['A'],
      options: { sizeBytes: 7 },
    })
    await host.start()
    expect(host.explain()[1]!.startMs).to.be.at.least(0)
    await host.stop()
  })
})

function neverEnds(signal: AbortSignal): Promise<void> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () =>
      reject(new Error('The operation was aborted', { cause: signal.reason })),
    )
  })
}
