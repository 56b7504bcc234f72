import {
  assertSlice,
  definePlugin,
  MooncakeError,
  runBatch,
  TRANSPORT,
  type CompletionStream,
  type ExposeOptions,
  type Exposure,
  type Region,
  type RemoteWindow,
  type Startable,
  type TransferOp,
  type Transport,
  type TransportSupports,
} from '@mooncake-ts/core'
import { InFlight } from './in-flight.js'
import { LocalWindow } from './local-window.js'
import type { Attachment, InProcessNetwork } from './network.js'

export interface InProcessOptions {
  /** Those on the same network reach each other. */
  readonly network: InProcessNetwork
}

/** Operations of one batch that are in flight at a time. */
const OPERATIONS_MAX = 1024

/** A transport between Hosts of one process, for tests; the network decides how it behaves. */
export const inProcess = definePlugin<Transport, InProcessOptions>({
  name: '@mooncake-ts/testkit/in-process',
  provides: TRANSPORT,
  useFactory: ({ network }) => new InProcessTransport(network),
})

class InProcessTransport implements Transport, Startable {
  readonly scheme: string
  readonly supports: TransportSupports = Object.freeze({ revoke: true, remote: false })
  readonly #network: InProcessNetwork
  readonly #attachment: Attachment
  readonly #moving = new InFlight()
  #stopping = false

  constructor(network: InProcessNetwork) {
    this.#network = network
    this.scheme = this.#network.scheme
    this.#attachment = network.attach()
  }

  get endpoint(): string {
    return this.#attachment.endpoint
  }

  /** Ends what is in flight, in both directions; what has not been posted fails with ERR_SHUTTING_DOWN. */
  async stop(): Promise<void> {
    this.#stopping = true
    await this.#network.detach(this.#attachment)
    await this.#moving.rest()
  }

  reaches(window: RemoteWindow): boolean {
    return window.scheme === this.scheme
  }

  expose(region: Region, options: ExposeOptions): Exposure {
    this.#assertRunning()
    assertSlice({ region, offset: options.offset, byteLength: options.byteLength })
    const exposure = this.#network.expose(this.#attachment, new LocalWindow(region, options))
    region.onClose(() => void exposure.revoke())
    return exposure
  }

  execute(batch: readonly TransferOp[], { signal }: { readonly signal: AbortSignal }): CompletionStream {
    return runBatch(batch, { signal, concurrencyMax: OPERATIONS_MAX }, op => {
      this.#assertRunning()
      return this.#moving.track(this.#network.move(this.#attachment, op))
    })
  }

  #assertRunning(): void {
    if (this.#stopping) throw new MooncakeError('ERR_SHUTTING_DOWN', `${this.endpoint} is stopping`)
  }
}
