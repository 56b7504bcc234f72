import { mkdtemp, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { BaseTier, definePlugin, TIER } from '@mooncake-ts/core'
import type { Slice, Tier, TierReadOp, TierWriteOp } from '@mooncake-ts/core'

export interface TmpfsOptions {
  /** A directory on a tmpfs mount; the tier works in a new one below it, and removes that in the end. */
  readonly dir: string
  readonly capacityBytes: number
}

class TmpfsTier extends BaseTier {
  #dir = ''

  constructor(readonly options: TmpfsOptions) {
    super({ name: 'tmpfs-0', kind: 'TMPFS', priority: 50, capacityBytes: options.capacityBytes })
  }

  async start(): Promise<void> {
    this.#dir = await mkdtemp(join(this.options.dir, 'mooncake-'))
  }

  override async stop(): Promise<void> {
    await super.stop()
    await rm(this.#dir, { recursive: true, force: true })
  }

  protected async _write(id: number, { from }: TierWriteOp): Promise<number> {
    await using file = await open(join(this.#dir, `${id}`), 'w')
    return (await file.write(bytesOf(from))).bytesWritten
  }

  protected async _read(id: number, { offset, into }: TierReadOp): Promise<number> {
    await using file = await open(join(this.#dir, `${id}`), 'r')
    return (await file.read(bytesOf(into), 0, into.byteLength, offset)).bytesRead
  }

  protected async _delete(id: number): Promise<void> {
    await rm(join(this.#dir, `${id}`), { force: true })
  }
}

const bytesOf = ({ region, offset, byteLength }: Slice): Uint8Array => region.view(offset, byteLength)

export const tmpfs = definePlugin<Tier, TmpfsOptions>({
  name: 'mooncake-tier-tmpfs-example',
  provides: TIER,
  useFactory: options => new TmpfsTier(options),
})
