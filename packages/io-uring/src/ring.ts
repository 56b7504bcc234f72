import { MooncakeError } from '@mooncake-ts/core'
import { FLAG_DATA_ONLY, FLAG_WAIT_ALL, Opcode, Refusal, Staging, type NativeEngine } from './native.js'
import type { Operations } from './operations.js'
import type { Done, Ring, SocketAddress, TransferFlags } from './types.js'

const FD_MAX = 0x7fffffff
/** Then the device begins, while the others of a long batch are being prepared. */
const PREPARED_MAX = 8
const settled = Promise.resolve()

/** What the rings of one engine share. */
export interface RingHost {
  readonly native: NativeEngine
  readonly operations: Operations
  /** Written before every `prepare`; of at least that many numbers. */
  staging(numbers: number): Float64Array
  /** Completions are being delivered: `submit` waits for the end of the batch. */
  readonly delivering: boolean
  readonly closed: boolean
}

/** One ring: writes descriptors, and enters them in batches. */
export class EngineRing implements Ring {
  private prepared = 0
  private microtaskPending = false

  constructor(
    private readonly host: RingHost,
    private readonly number: number,
  ) {}

  recv(fd: number, vec: ArrayLike<number>, done: Done, flags?: TransferFlags): number {
    return this.transfer(Opcode.recv, fd, vec, 0, flags?.waitAll === true ? FLAG_WAIT_ALL : 0, done)
  }

  send(fd: number, vec: ArrayLike<number>, done: Done, flags?: TransferFlags): number {
    return this.transfer(Opcode.send, fd, vec, 0, flags?.waitAll === false ? 0 : FLAG_WAIT_ALL, done)
  }

  read(fd: number, vec: ArrayLike<number>, fileOffset: number, done: Done): number {
    return this.transfer(Opcode.read, fd, vec, fileOffset, 0, done)
  }

  write(fd: number, vec: ArrayLike<number>, fileOffset: number, done: Done): number {
    return this.transfer(Opcode.write, fd, vec, fileOffset, 0, done)
  }

  fsync(fd: number, done: Done, flags?: { readonly dataOnly?: boolean }): number {
    return this.simple(Opcode.fsync, fd, flags?.dataOnly === true ? FLAG_DATA_ONLY : 0, done)
  }

  allocate(fd: number, fileOffset: number, byteLength: number, done: Done): number {
    this.check(fd)
    if (!Number.isSafeInteger(fileOffset + byteLength) || fileOffset < 0 || byteLength <= 0) {
      throw new MooncakeError('ERR_INVALID_PARAMS', `${byteLength} from ${fileOffset} is no range of a file`)
    }
    const staging = this.host.staging(Staging.vector + 1)
    staging[Staging.fileOffset] = fileOffset
    staging[Staging.vector] = byteLength
    return this.simple(Opcode.allocate, fd, 0, done)
  }

  accept(fd: number, done: Done): number {
    return this.simple(Opcode.accept, fd, 0, done)
  }

  nop(done: Done): number {
    return this.simple(Opcode.nop, 0, 0, done)
  }

  connect(fd: number, address: SocketAddress, done: Done): number {
    this.check(fd)
    const { target, port } = socketTarget(address)
    return this.accepted(this.host.native.prepareConnect(this.number, fd, target, port), done)
  }

  submit(): void {
    if (!this.host.delivering) this.flush()
  }

  /** Enters what is prepared, whoever is delivering. */
  flush(): void {
    if (this.prepared === 0) return
    this.prepared = 0
    this.host.native.submit(this.number)
  }

  cancel(operationId: number): void {
    const index = this.host.operations.indexOf(operationId)
    if (index !== undefined) this.host.native.cancel(index)
  }

  private transfer(
    opcode: number,
    fd: number,
    vec: ArrayLike<number>,
    fileOffset: number,
    flags: number,
    done: Done,
  ): number {
    this.check(fd)
    const length = vec.length
    if (length % 3 !== 0)
      throw new MooncakeError('ERR_INVALID_PARAMS', 'A vector is made of triples: slot, offset, length')
    if (!Number.isSafeInteger(fileOffset) || fileOffset < 0) {
      throw new MooncakeError('ERR_INVALID_PARAMS', `${fileOffset} is no file offset`)
    }
    const staging = this.host.staging(Staging.vector + length)
    staging[Staging.opcode] = opcode
    staging[Staging.fd] = fd
    staging[Staging.flags] = flags
    staging[Staging.fileOffset] = fileOffset
    staging[Staging.pieceCount] = length / 3
    for (let i = 0; i < length; i++) staging[Staging.vector + i] = vec[i] as number
    return this.accepted(this.host.native.prepare(this.number), done)
  }

  private simple(opcode: number, fd: number, flags: number, done: Done): number {
    this.check(fd)
    const staging = this.host.staging(Staging.vector)
    staging[Staging.opcode] = opcode
    staging[Staging.fd] = fd
    staging[Staging.flags] = flags
    return this.accepted(this.host.native.prepare(this.number), done)
  }

  private check(fd: number): void {
    if (this.host.closed) throw new MooncakeError('ERR_SHUTTING_DOWN', 'The io engine was closed')
    if (!Number.isInteger(fd) || fd < 0 || fd > FD_MAX)
      throw new MooncakeError('ERR_INVALID_PARAMS', `${fd} is no fd`)
  }

  private accepted(index: number, done: Done): number {
    if (index < 0) throw refusal(index)
    const id = this.host.operations.begin(index, done)
    if (++this.prepared === PREPARED_MAX) this.flush()
    else if (!this.microtaskPending) {
      this.microtaskPending = true
      void settled.then(this.submitForgotten)
    }
    return id
  }

  private readonly submitForgotten = (): void => {
    this.microtaskPending = false
    this.submit()
  }
}

/** @throws ERR_INVALID_PARAMS the port cannot be one */
export function socketTarget(address: SocketAddress): { target: string; port: number | undefined } {
  if ('path' in address) return { target: address.path, port: undefined }
  if (!Number.isInteger(address.port) || address.port < 0 || address.port > 65535) {
    throw new MooncakeError('ERR_INVALID_PARAMS', `${address.port} is no port`)
  }
  return { target: address.host, port: address.port }
}

function refusal(code: number): MooncakeError {
  if (code === Refusal.tooManyOperations) {
    return new MooncakeError('ERR_OVERLOADED', 'Too many operations are in flight on this io engine')
  }
  if (code === Refusal.unknownSlot) {
    return new MooncakeError('ERR_SLICE_OUT_OF_BOUNDS', 'The vector names a slot that is not attached')
  }
  if (code === Refusal.badAddress) {
    return new MooncakeError(
      'ERR_INVALID_PARAMS',
      'The address is no IPv4 or IPv6 literal, or the path too long',
    )
  }
  return new MooncakeError('ERR_SLICE_OUT_OF_BOUNDS', 'The vector reaches outside of its slot')
}
