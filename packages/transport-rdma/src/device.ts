import { MooncakeError, type ErrorCode, type Region } from '@mooncake-ts/core'
import {
  EventKind,
  native,
  type DeviceStats,
  type NativeDevice,
  type NativeDeviceOptions,
  type NativeEvent,
  type NativePort,
  type NativeTable,
} from './native.js'

/** A Region, or a part of one, as one device knows it. */
export interface Registered {
  readonly id: number
  readonly rkey: number
  /** Of its first page, or -1. */
  readonly numaNode: number
}

/** Called when an operation has ended: 0, a work completion's status, or an `OperationStatus`. */
export type OnOperationEnd = (status: number) => void

/** An endpoint as its owner sees it. */
export interface EndpointHandle {
  readonly id: number
  /** What the peer needs to connect to it. */
  readonly info: Uint8Array
  /** Settles when nothing touches memory for it any more, whoever closed or broke it. */
  readonly closed: Promise<void>
}

/** `ibv_event_type`. */
const EVENT_DEVICE_FATAL = 8
const EVENT_PORT_ACTIVE = 9
const EVENT_PORT_ERROR = 10

/** What an asynchronous event says about the port; undefined for others. */
export function portStateOf({ subject }: NativeEvent): boolean | undefined {
  if (subject === EVENT_PORT_ACTIVE) return true
  return subject === EVENT_PORT_ERROR || subject === EVENT_DEVICE_FATAL ? false : undefined
}

/** What the system says where a limit is reached: EAGAIN, ENOMEM, ENOSPC, and EINVAL of drivers that know no better. */
const NO_ROOM: ReadonlySet<number> = new Set([11, 12, 22, 28])

interface EndpointEntry {
  created?: (event: NativeEvent) => void
  connected?: (event: NativeEvent) => void
  readonly onBroken: (why: string) => void
  readonly onClosed: () => void
}

let nextId = 1

/** One device: promises and callbacks around the queue of completions and events that the addon keeps. */
export class Device {
  readonly name: string
  /** Its place in the keys of a window. */
  readonly number: number
  readonly port: NativePort
  /** Told when its port went down or came back, or the device died. */
  onPort: (up: boolean, why: string) => void = () => {}
  readonly #native: NativeDevice
  readonly #registering = new Map<number, (event: NativeEvent) => void>()
  readonly #endpoints = new Map<number, EndpointEntry>()
  readonly #operations = new Map<number, OnOperationEnd>()
  #referenced = false
  #closed = false

  /** @throws ERR_IO with what the system refused */
  constructor(options: NativeDeviceOptions, table: NativeTable) {
    this.name = options.name
    this.number = options.number
    const { Device: Opened } = native()
    this.#native = opened(
      options.name,
      () =>
        new Opened(options, table, () => {
          this.#take()
        }),
    )
    this.port = this.#native.describe()
  }

  get stats(): DeviceStats {
    return this.#native.stats()
  }

  /** @throws ERR_REGION_CLOSED; rejects with ERR_TRANSFER_FAIL where the system refuses to pin the memory */
  register(region: Region, offset: number, byteLength: number): Promise<Registered> {
    const id = nextId++
    if (this.#closed || !this.#native.registerMemory(id, region.handle, offset, byteLength)) {
      throw new MooncakeError('ERR_REGION_CLOSED')
    }
    this.#reference()
    return new Promise((resolve, reject) => {
      this.#registering.set(id, ({ status, rkey, numaNode }) => {
        if (status === 0) resolve({ id, rkey, numaNode })
        else {
          this.deregister(id)
          reject(systemError(`${this.name} could not register ${byteLength} bytes`, status))
        }
      })
    })
  }

  /** It goes when the last operation on it has ended. */
  deregister(id: number): void {
    if (!this.#closed) this.#native.deregister(id)
  }

  /**
   * Rejects with ERR_OVERLOADED where the device has no room for one more, or with ERR_TRANSFER_FAIL; then at rest.
   * `onBroken` is told once, when it ends by itself.
   */
  createEndpoint(
    queuePairs: number,
    depth: number,
    onBroken: (why: string) => void,
  ): Promise<EndpointHandle> {
    const id = nextId++
    let onClosed = (): void => {}
    const closed = new Promise<void>(resolve => {
      onClosed = resolve
    })
    const entry: EndpointEntry = { onBroken, onClosed }
    const created = new Promise<EndpointHandle>((resolve, reject) => {
      entry.created = ({ status, text, bytes }) => {
        if (status === 0) resolve({ id, info: bytes, closed })
        else {
          this.#forget(id)
          const code = NO_ROOM.has(status) ? 'ERR_OVERLOADED' : 'ERR_TRANSFER_FAIL'
          reject(systemError(`${this.name} could not make an endpoint (${text})`, status, code))
        }
      }
    })
    if (this.#closed) return Promise.reject(new MooncakeError('ERR_TRANSFER_FAIL', `${this.name} is closed`))
    this.#endpoints.set(id, entry)
    this.#reference()
    this.#native.createEndpoint(id, queuePairs, depth)
    return created
  }

  /** Rejects with ERR_TRANSFER_FAIL; the endpoint is to be closed then. */
  connectEndpoint(id: number, remote: Uint8Array): Promise<void> {
    const entry = this.#endpoints.get(id)
    if (entry == null || this.#closed || !this.#native.connectEndpoint(id, remote)) {
      return Promise.reject(new MooncakeError('ERR_TRANSFER_FAIL', 'The endpoint cannot be connected'))
    }
    return new Promise((resolve, reject) => {
      entry.connected = ({ status, text }) => {
        if (status === 0) resolve()
        else reject(systemError(`${this.name} could not connect an endpoint (${text})`, status))
      }
    })
  }

  /** Its `closed` settles when it is at rest. */
  closeEndpoint(id: number): void {
    if (!this.#closed && this.#endpoints.has(id)) this.#native.closeEndpoint(id)
  }

  /** `fields` has `count` operations, whose ids come from `onOperation`. */
  submit(fields: Float64Array, count: number): void {
    this.#native.submit(fields, count)
  }

  /** The id of an operation that is about to be submitted. */
  onOperation(onEnd: OnOperationEnd): number {
    const id = nextId++
    this.#operations.set(id, onEnd)
    this.#reference()
    return id
  }

  /** What is not posted yet ends as cancelled; what is, ends by itself. */
  cancel(operations: readonly number[]): void {
    if (!this.#closed) this.#native.cancel(Float64Array.from(operations))
  }

  /** Blocks until nothing touches memory any more: call it when all has ended. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#native.close()
    for (const [id, entry] of this.#endpoints) {
      this.#endpoints.delete(id)
      entry.onClosed()
    }
  }

  #take(): void {
    if (this.#closed) return
    const [completions, events] = this.#native.take()
    // An endpoint's end comes after the operations on it.
    for (let i = 0; i < completions.length; i += 2) {
      const onEnd = this.#operations.get(completions[i]!)
      this.#operations.delete(completions[i]!)
      onEnd?.(completions[i + 1]!)
    }
    for (const event of events) this.#onEvent(event)
    this.#reference()
  }

  #onEvent(event: NativeEvent): void {
    const { kind, subject, text } = event
    const endpoint = this.#endpoints.get(subject)
    switch (kind) {
      case EventKind.registered: {
        const settle = this.#registering.get(subject)
        this.#registering.delete(subject)
        settle?.(event)
        break
      }
      case EventKind.created:
        endpoint?.created?.(event)
        break
      case EventKind.connected:
        endpoint?.connected?.(event)
        break
      case EventKind.broken:
        endpoint?.onBroken(text)
        break
      case EventKind.closed:
        this.#forget(subject)
        endpoint?.onClosed()
        break
      case EventKind.async: {
        const up = portStateOf(event)
        if (up != null) this.onPort(up, text)
        break
      }
    }
  }

  #forget(endpoint: number): void {
    this.#endpoints.delete(endpoint)
    if (!this.#closed) this.#native.forgetEndpoint(endpoint)
  }

  /** The event loop waits for operations and registrations, not for idle endpoints. */
  #reference(): void {
    const wanted = this.#operations.size + this.#registering.size > 0
    if (this.#closed || wanted === this.#referenced) return
    this.#referenced = wanted
    this.#native.setReferenced(wanted)
  }
}

/** @throws ERR_IO with what the system refused */
export function opened<T>(name: string, open: () => T): T {
  try {
    return open()
  } catch (cause) {
    const reason = (cause as Error).message
    throw new MooncakeError('ERR_IO', `RDMA device ${name} could not be opened: ${reason}`, { cause })
  }
}

/** For an errno of the addon. */
export function systemError(
  what: string,
  errno: number,
  code: ErrorCode = 'ERR_TRANSFER_FAIL',
): MooncakeError {
  return new MooncakeError(code, `${what}: ${nameOf(errno)}`)
}

const ERRNO_NAMES: Readonly<Record<number, string>> = {
  2: 'ENOENT',
  11: 'EAGAIN: a limit of the control group (rdma.max)',
  12: 'ENOMEM: no memory to pin, or RLIMIT_MEMLOCK is too low',
  14: 'EFAULT: the memory cannot be written',
  22: 'EINVAL',
  28: 'ENOSPC',
  95: 'EOPNOTSUPP',
  99: 'EADDRNOTAVAIL: the port has no GID',
  110: 'ETIMEDOUT: the peer does not answer',
  113: 'EHOSTUNREACH',
  125: 'ECANCELED',
}

function nameOf(errno: number): string {
  return ERRNO_NAMES[errno] ?? `errno ${errno}`
}
