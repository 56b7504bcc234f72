import { hasCode, type Clock, type Logger, type Region } from '@mooncake-ts/core'

/** A start that takes longer goes on in the background: hosts give each plugin a time, 30 s by default. */
const START_WAIT_MS = 10_000

/** Shorter ones are not worth a line. */
const LOG_FROM_MS = 1000

/** Takes the pages of a tier's Region before the first values come. */
export class Prefaulting {
  /** Settles, always well, when nothing takes pages any more. Close the Region to have it soon. */
  ended: Promise<unknown> = Promise.resolve()
  readonly #clock: Clock
  readonly #logger: Logger

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock
    this.#logger = logger
  }

  /**
   * Settles when all pages are there, or after 10 s, while the rest is still being taken.
   * @throws ERR_OUT_OF_MEMORY; the signal's reason, when it aborts in time
   */
  async begin(region: Region, signal: AbortSignal): Promise<void> {
    if (region.prefault == null) return
    signal.throwIfAborted()
    const taking = this.#take(region.prefault())
    this.ended = taking.catch(() => {})
    const giveUp = (): void => region.close()
    signal.addEventListener('abort', giveUp, { once: true })
    let timer: Disposable | undefined
    const patience = new Promise<'impatient'>(resolve => {
      timer = this.#clock.after(START_WAIT_MS, () => resolve('impatient'))
    })
    try {
      if ((await Promise.race([taking, patience])) === 'impatient') this.#goOn(taking)
    } catch (error) {
      signal.throwIfAborted()
      throw error
    } finally {
      timer?.[Symbol.dispose]()
      signal.removeEventListener('abort', giveUp)
    }
  }

  async #take(pages: Promise<void>): Promise<void> {
    const begunMs = this.#clock.nowMs()
    await pages
    const tookMs = Math.round(this.#clock.nowMs() - begunMs)
    if (tookMs >= LOG_FROM_MS) this.#logger.info('All memory was taken from the system', { tookMs })
  }

  #goOn(taking: Promise<void>): void {
    this.#logger.info('Serves while the rest of the memory is taken from the system')
    void taking.catch((error: unknown) => {
      if (hasCode(error, 'ERR_REGION_CLOSED')) return // By `stop`.
      this.#logger.warn('Not all of the memory could be taken from the system', { error })
    })
  }
}
