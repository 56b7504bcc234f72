import { detachView } from '@mooncake-ts/memory'
import type { ObjectView } from '../api/view.js'

export interface OpenViewInit {
  readonly key: string
  /** Of `Region.view`; nobody else uses the buffer. */
  readonly bytes: Uint8Array
  readonly source: ObjectView['source']
  readonly isValid: () => boolean
  /** Gives up what keeps the bytes. Called once; must not know view or bytes, which would keep them. */
  readonly release: () => void
}

/** What is to be given up when a view is disposed of, or collected because nobody did. */
interface Holder {
  readonly view: WeakRef<View>
  readonly release: () => void
}

/** The views that nobody has disposed of. */
export class OpenViews {
  readonly #holders = new Set<Holder>()
  /** Who keeps the bytes alone keeps their view, and so what they show. */
  readonly #ofBuffer = new WeakMap<ArrayBufferLike, View>()
  readonly #collected = new FinalizationRegistry<Holder>(holder => {
    this.#end(holder)
  })

  get size(): number {
    return this.#holders.size
  }

  open(init: OpenViewInit): ObjectView {
    const view: View = new View(init, () => {
      this.#collected.unregister(view)
      this.#end(holder)
    })
    const holder = { view: new WeakRef(view), release: init.release }
    this.#holders.add(holder)
    this.#collected.register(view, holder, view)
    this.#ofBuffer.set(init.bytes.buffer, view)
    return view
  }

  /** Disposes of all of them. */
  close(): void {
    for (const holder of [...this.#holders]) {
      holder.view.deref()?.[Symbol.dispose]()
      this.#end(holder)
    }
  }

  #end(holder: Holder): void {
    if (this.#holders.delete(holder)) holder.release()
  }
}

class View implements ObjectView {
  readonly key: string
  readonly bytes: Uint8Array
  readonly source: ObjectView['source']
  readonly #isValid: () => boolean
  readonly #onDispose: () => void
  #disposed = false

  constructor({ key, bytes, source, isValid }: OpenViewInit, onDispose: () => void) {
    this.key = key
    this.bytes = bytes
    this.source = source
    this.#isValid = isValid
    this.#onDispose = onDispose
  }

  get valid(): boolean {
    return !this.#disposed && this.#isValid()
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return
    this.#disposed = true
    detachView(this.bytes) // First, so that nobody sees through it what the memory is used for next.
    this.#onDispose()
  }
}
