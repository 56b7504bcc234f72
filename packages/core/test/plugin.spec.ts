import { expect } from 'chai'
import { definePlugin, Host, MooncakeError, OPTIONS, PLUGIN_API, token, value } from '@mooncake-ts/core'
import { failure } from './support.js'

interface Echo {
  readonly says: string
}

interface EchoOptions {
  readonly says: string
  readonly times?: number
}

const ECHO = token<Echo>('test/Echo')
const say = ({ says, times = 1 }: EchoOptions): Echo => ({ says: says.repeat(times) })
const echo = definePlugin<Echo, EchoOptions>({
  name: 'echo',
  provides: ECHO,
  defaults: { times: 2 },
  useFactory: say,
})

describe('definePlugin', () => {
  it('gives an inert, frozen value: nothing is made before a Host makes it', () => {
    let made = 0
    const counted = definePlugin<Echo>({
      name: 'counted',
      provides: ECHO,
      useFactory: () => ({ says: String(++made) }),
    })
    const plugin = counted()
    expect(made).to.equal(0)
    expect(plugin).to.be.frozen
    expect(plugin.options).to.be.frozen
    expect(plugin.requires).to.be.frozen
    expect(plugin).to.include({ name: 'counted', api: PLUGIN_API, provides: ECHO })
    expect(new Host([plugin]).get(ECHO).says).to.equal('1')
  })

  it('fills in defaults', () => {
    expect(echo({ says: 'ab' }).options).to.deep.equal({ says: 'ab', times: 2 })
    expect(new Host([echo({ says: 'ab', times: 3 })]).get(ECHO).says).to.equal('ababab')
  })

  it('takes an undefined option for its default, as parsed flags often are', () => {
    expect(echo({ says: 'ab', times: undefined }).options).to.deep.equal({ says: 'ab', times: 2 })
  })

  it('keeps the options when the caller changes his object afterwards', () => {
    const options = { says: 'before' }
    const plugin = echo(options)
    options.says = 'after'
    expect(new Host([plugin]).get(ECHO).says).to.equal('beforebefore')
  })

  it('validates options, with defaults, where they are typed', async () => {
    const seen: EchoOptions[] = []
    const strict = definePlugin<Echo, EchoOptions>({
      name: 'strict',
      provides: ECHO,
      defaults: { times: 2 },
      validate: options => {
        seen.push(options)
        if (options.says === '') throw new MooncakeError('ERR_INVALID_PARAMS', 'says: must not be empty')
      },
      useFactory: say,
    })
    expect((await failure(() => strict({ says: '' }))).code).to.equal('ERR_INVALID_PARAMS')
    expect(seen).to.deep.equal([{ says: '', times: 2 }])
  })

  it('wants exactly one of useClass and useFactory', () => {
    class Plain implements Echo {
      readonly says = 'x'
    }
    const rest = { name: 'odd', provides: ECHO }
    expect(() => definePlugin<Echo>(rest)).to.throw(TypeError, 'odd')
    expect(() => definePlugin<Echo>({ ...rest, useClass: Plain, useFactory: () => new Plain() })).to.throw(
      TypeError,
    )
  })
})

describe('value', () => {
  it('wraps an instance without options or requirements', () => {
    const instance = { says: 'hello' }
    const plugin = value(ECHO, instance)
    expect(plugin).to.be.frozen
    expect(plugin).to.include({ external: true, name: 'value of Echo' })
    expect(new Host([plugin]).get(ECHO)).to.equal(instance)
  })
})

describe('token', () => {
  it('is the same symbol for the same name, and carries the major of the contracts', () => {
    expect(token('Echo')).to.equal(token('Echo'))
    expect(token('Echo')).to.not.equal(token('Other'))
    expect(Symbol.keyFor(token('Echo'))).to.equal('@mooncake-ts/core/1/Echo')
    expect(Symbol.keyFor(OPTIONS)).to.equal('@mooncake-ts/core/1/PluginOptions')
  })
})
