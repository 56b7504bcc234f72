/** The RDMA devices of this host. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Refusal } from '../lib/steps.mjs'
import { prepareMachine } from './machine.mjs'

const CLASS = '/sys/class/infiniband'

/** @returns {string[]} names of the devices that have an active port and can be opened from user space */
export function hostDevices() {
  if (!existsSync(CLASS) || !existsSync('/dev/infiniband')) return []
  return readdirSync(CLASS).filter(name => {
    const ports = join(CLASS, name, 'ports')
    return readdirSync(ports).some(port =>
      readFileSync(join(ports, port, 'state'), 'utf8').includes('ACTIVE'),
    )
  })
}

/**
 * @returns {Promise<string | undefined>} a sentence, where the host has no device and a virtual machine cannot be had;
 *   the tools that it needs are installed, where that is allowed
 */
export async function whyNoDevice() {
  if (hostDevices().length > 0) return undefined
  try {
    await prepareMachine()
    return undefined
  } catch (error) {
    if (error instanceof Refusal) return error.message
    throw error
  }
}
