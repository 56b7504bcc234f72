import { spawnSync } from 'node:child_process'

/** A network namespace of its own, joined to ours by a cable that can be pulled. Needs root and iproute2. */
export class Namespace implements Disposable {
  /** Of our end and of the far end. */
  readonly near = `10.213.${process.pid % 250}.1`
  readonly far = `10.213.${process.pid % 250}.2`
  /** Runs a program inside. */
  readonly wrapper: readonly string[]
  readonly #name: string
  readonly #device: string

  private constructor() {
    this.#name = `mooncake-${process.pid}`
    this.#device = `mc${process.pid}`
    this.wrapper = ['ip', 'netns', 'exec', this.#name]
  }

  /** Undefined where the system does not allow it. */
  static create(): Namespace | undefined {
    if (process.getuid?.() !== 0) return undefined
    const namespace = new Namespace()
    const name = namespace.#name
    if (ip('netns', 'add', name) && ip('-n', name, 'link', 'set', 'lo', 'up')) return namespace
    namespace[Symbol.dispose]()
    return undefined
  }

  /** Lays the cable; false where that is not allowed. */
  connect(): boolean {
    const [name, device] = [this.#name, this.#device]
    return (
      ip('link', 'add', device, 'type', 'veth', 'peer', 'name', 'far', 'netns', name) &&
      ip('addr', 'add', `${this.near}/30`, 'dev', device) &&
      ip('link', 'set', device, 'up') &&
      ip('-n', name, 'addr', 'add', `${this.far}/30`, 'dev', 'far') &&
      ip('-n', name, 'link', 'set', 'far', 'up')
    )
  }

  /** Packets get lost from now on; nobody is told. */
  pull(): void {
    ip('-n', this.#name, 'link', 'set', 'far', 'down')
  }

  plug(): void {
    ip('-n', this.#name, 'link', 'set', 'far', 'up')
  }

  [Symbol.dispose](): void {
    ip('link', 'del', this.#device)
    ip('netns', 'del', this.#name)
  }
}

function ip(...args: string[]): boolean {
  return spawnSync('ip', args, { stdio: 'ignore', timeout: 5000 }).status === 0
}
