import { errorCode, MooncakeError, type Logger } from '@mooncake-ts/core'
import { DEVICES_MAX, native, type NativeDeviceOptions, type NativePort } from './native.js'
import { MTUS, type ResolvedOptions } from './options.js'

const ENOSYS = 38
/** `ibv_mtu` of 256 bytes is 1. */
const FIRST_MTU = 1

/**
 * The names of the devices to open.
 * @throws ERR_NATIVE_MISSING, ERR_NOT_SUPPORTED with what is missing and what to do
 */
export function findDevices(wanted: readonly string[] | undefined): string[] {
  const { problem, errno, devices } = native().probe()
  if (problem !== '') {
    throw new MooncakeError(
      'ERR_NATIVE_MISSING',
      `RDMA needs libibverbs: ${problem}. Install it (Debian: apt-get install libibverbs1 ibverbs-providers)`,
    )
  }
  if (errno === ENOSYS) {
    throw new MooncakeError(
      'ERR_NOT_SUPPORTED',
      'The kernel has no RDMA: load ib_uverbs and the driver of the device (Soft-RoCE: rdma_rxe)',
    )
  }
  const missing = wanted?.filter(name => !devices.includes(name)) ?? []
  if (missing.length > 0) {
    const known = devices.length === 0 ? 'there is none' : `there are ${devices.join(', ')}`
    throw new MooncakeError('ERR_NOT_SUPPORTED', `No RDMA device ${missing.join(', ')}: ${known}`)
  }
  if (devices.length === 0) throw new MooncakeError('ERR_NOT_SUPPORTED', 'This machine has no RDMA device')
  return (wanted ?? devices).slice(0, DEVICES_MAX)
}

/** Opens what can be opened. @throws as `findDevices`; ERR_IO where none can */
export function openDevices<T>(
  options: ResolvedOptions,
  logger: Logger,
  open: (options: NativeDeviceOptions) => T,
): T[] {
  const { deviceNames, gidIndex = -1, mtu, spinMicrosMax, ...same } = options
  const devices: T[] = []
  let failure: unknown
  findDevices(deviceNames).forEach((name, number) => {
    const nativeOptions = {
      ...same,
      name,
      number,
      gidIndex,
      mtu: MTUS.indexOf(mtu) + FIRST_MTU,
      spinNsMax: spinMicrosMax * 1000,
    }
    try {
      devices.push(open(nativeOptions))
    } catch (error) {
      failure = error
      logger.warn((error as Error).message, { code: errorCode(error), device: name })
    }
  })
  if (devices.length > 0) return devices
  throw failure
}

/** What has a port that goes down and comes back. */
export interface Ported {
  readonly name: string
  readonly port: NativePort
  /** Told when its port went down or came back, or the device died. */
  onPort: (up: boolean, why: string) => void
}

/** Whose port is up. */
export class DeviceHealth<T extends Ported> {
  readonly #down = new Set<T>()
  /** Told when a port goes down, or is back. */
  onChange: (device: T, up: boolean) => void = () => {}

  constructor(devices: readonly T[], logger: Logger) {
    for (const device of devices) {
      if (!device.port.active) this.#down.add(device)
      device.onPort = (up, why) => {
        if (up === this.isUp(device)) return
        logger[up ? 'info' : 'warn'](`RDMA device ${device.name}: ${why}`, { device: device.name })
        if (up) this.#down.delete(device)
        else this.#down.add(device)
        this.onChange(device, up)
      }
    }
  }

  isUp(device: T): boolean {
    return !this.#down.has(device)
  }
}
