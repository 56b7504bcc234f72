import { expect } from 'chai'
import {
  definePlugin,
  Host,
  inject,
  injectable,
  injectAll,
  OPTIONS,
  token,
  value,
  type Startable,
} from '@mooncake-ts/core'
import { failure } from './support.js'

interface Engine extends Startable {
  readonly label: string
}

interface Wheel {
  readonly inch: number
}

interface EngineOptions {
  readonly label: string
}

const ENGINE = token<Engine>('test/Engine')
const WHEEL = token<Wheel>('test/Wheel')
const CAR = token<Car>('test/Car')

@injectable()
class OptionEngine implements Engine {
  readonly label: string
  started = false

  constructor(@inject(OPTIONS) options: EngineOptions) {
    this.label = options.label
  }

  start(): void {
    this.started = true
  }
}

@injectable()
class Car {
  constructor(
    @inject(ENGINE) readonly engine: Engine,
    @injectAll(WHEEL) readonly wheels: readonly Wheel[],
  ) {}
}

@injectable()
class Refusing {
  constructor(@inject(OPTIONS) options: EngineOptions) {
    throw new RangeError(`not with ${options.label}`)
  }
}

const engine = definePlugin<Engine, EngineOptions>({
  name: 'engine',
  provides: ENGINE,
  useClass: OptionEngine,
})
const car = definePlugin<Car>({ name: 'car', provides: CAR, requires: [ENGINE, WHEEL], useClass: Car })

describe('Host: plugins that are classes', () => {
  it('constructs the class with its options', async () => {
    await using host = await new Host([engine({ label: 'diesel' })]).start()
    const made = host.get(ENGINE)
    expect(made).to.be.instanceOf(OptionEngine)
    expect(made.label).to.equal('diesel')
    expect((made as OptionEngine).started).to.equal(true)
  })

  it('keeps the options of one instance from all others', () => {
    const host = new Host([engine({ label: 'left' }), engine({ label: 'right' })])
    expect(host.getAll(ENGINE).map(made => made.label)).to.deep.equal(['left', 'right'])
  })

  it('does not show options outside of the plugin', () => {
    const host = new Host([engine({ label: 'diesel' })])
    expect(() => host.get(OPTIONS)).to.throw('No plugin provides')
  })

  it('injects the one instance, and all instances in the order of the composition', () => {
    const wheels = [value(WHEEL, { inch: 17 }), value(WHEEL, { inch: 18 })]
    const host = new Host([car(), ...wheels, engine({ label: 'diesel' })])
    const made = host.get(CAR)
    expect(made.engine).to.equal(host.get(ENGINE))
    expect(made.wheels.map(wheel => wheel.inch)).to.deep.equal([17, 18])
  })

  it('makes one instance, not one for each that asks', () => {
    const host = new Host([car(), value(WHEEL, { inch: 17 }), engine({ label: 'diesel' })])
    expect(host.get(CAR)).to.equal(host.get(CAR))
    expect(host.get(ENGINE)).to.equal(host.get(CAR).engine)
  })

  it('passes on what a constructor throws', async () => {
    const refusing = definePlugin<Refusing, EngineOptions>({
      name: 'refusing',
      provides: token<Refusing>('test/Refusing'),
      useClass: Refusing,
    })
    const error = await failure(() => new Host([refusing({ label: 'steam' })]))
    expect(error).to.be.instanceOf(RangeError)
    expect(error.message).to.equal('not with steam')
  })

  it('refuses a class whose parameters carry no @inject', async () => {
    class Undecorated {
      constructor(readonly options: EngineOptions) {}
    }
    const bare = definePlugin<Undecorated>({
      name: 'bare',
      provides: token<Undecorated>('test/Undecorated'),
      useClass: Undecorated,
    })
    const error = await failure(() => new Host([bare()]))
    expect(error.code).to.equal('ERR_PLUGIN_UNMET_REQUIREMENT')
    expect(error.message).to.include('bare').and.include('Undecorated')
  })

  it('refuses a class that injects what its plugin does not declare', async () => {
    const careless = definePlugin<Car>({ name: 'careless', provides: CAR, useClass: Car })
    const error = await failure(() => new Host([careless()]))
    expect(error.code).to.equal('ERR_PLUGIN_UNMET_REQUIREMENT')
    expect(error.message).to.include('careless').and.include('test/Engine')
  })
})
