import { MooncakeError } from '@mooncake-ts/core'
import { hashKey } from '../local/key-hash.js'

const ROWS = 4
const COUNTER_MAX = 15
const COUNTERS_PER_WORD = 8
/** All counters are halved after so many increments per counter of a row. */
const SAMPLE_FACTOR = 10
/** Odd constants, one for each row, so that keys that share a counter in one row rarely do in the others. */
const ROW_SEEDS = [0x9e3779b1, 0x85ebca77, 0xc2b2ae3d, 0x27d4eb2f] as const

/**
 * How often keys were used lately, in 2 bytes for each key it is made for: a count-min sketch of 4-bit
 * counters with conservative update, whose counters are halved from time to time so that what was popular
 * once does not stay so (G. Einziger, R. Friedman, B. Manes: TinyLFU, ACM Transactions on Storage 13, 2017).
 * It never underestimates what was counted since the last halving, up to 15.
 */
export class FrequencySketch {
  readonly #words: Uint32Array
  readonly #wordsPerRow: number
  readonly #mask: number
  readonly #sampleMax: number
  #sample = 0

  /**
   * @param keysMax how many different keys it tells apart well; rounded up to a power of two
   * @throws ERR_INVALID_PARAMS
   */
  constructor(keysMax: number) {
    if (!Number.isSafeInteger(keysMax) || keysMax < 1 || keysMax > 2 ** 28) {
      throw new MooncakeError('ERR_INVALID_PARAMS', 'keysMax must be a whole number from 1 to 2^28')
    }
    const counters = Math.max(COUNTERS_PER_WORD, 2 ** Math.ceil(Math.log2(keysMax)))
    this.#mask = counters - 1
    this.#wordsPerRow = counters / COUNTERS_PER_WORD
    this.#words = new Uint32Array(ROWS * this.#wordsPerRow)
    this.#sampleMax = SAMPLE_FACTOR * counters
  }

  /** From 0 to 15. */
  estimate(key: string): number {
    return this.#least(hashKey(key))
  }

  increment(key: string): void {
    const hash = hashKey(key)
    const least = this.#least(hash)
    // Only the least counters grow (conservative update): the others are too high already.
    for (let row = 0; least < COUNTER_MAX && row < ROWS; row++) {
      const at = this.#at(hash, row)
      if (this.#counter(row, at) === least) this.#words[this.#wordOf(row, at)]! += 1 << shiftOf(at)
    }
    if (++this.#sample >= this.#sampleMax) this.#age()
  }

  #least(hash: number): number {
    let least = COUNTER_MAX
    for (let row = 0; row < ROWS; row++) least = Math.min(least, this.#counter(row, this.#at(hash, row)))
    return least
  }

  #age(): void {
    for (let i = 0; i < this.#words.length; i++) this.#words[i] = (this.#words[i]! >>> 1) & 0x77777777
    this.#sample >>>= 1
  }

  #counter(row: number, at: number): number {
    return (this.#words[this.#wordOf(row, at)]! >>> shiftOf(at)) & COUNTER_MAX
  }

  #wordOf(row: number, at: number): number {
    return row * this.#wordsPerRow + (at >>> 3)
  }

  #at(hash: number, row: number): number {
    const mixed = Math.imul(hash ^ (hash >>> 16), ROW_SEEDS[row]!)
    return (mixed ^ (mixed >>> 15)) & this.#mask
  }
}

const shiftOf = (at: number): number => (at & (COUNTERS_PER_WORD - 1)) * 4
