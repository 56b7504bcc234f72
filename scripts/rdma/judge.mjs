/** How the virtual machine ended: with the exit code of its command, or badly. */
import { Refusal } from '../lib/steps.mjs'

/** What `timeout` exits with when it had to end QEMU, by a TERM or by a KILL. */
const TIMED_OUT = [124, 137]
const SERIAL_CHARACTERS_SHOWN = 4000

/**
 * Two witnesses have to agree: the line VM-DONE on the serial port, and QEMU's status, which is (byte << 1) | 1 for the
 * byte 64 + code that init.sh writes. A status of 0 is what a panic leaves, and never a success. A killed `timeout` and
 * code 4 share the status 137.
 *
 * @param {{ status: number | string, interrupted?: string, said: string, serial: string, limitS: number }} ended
 * @returns {number} the command's exit code
 * @throws Refusal with the end of what the machine printed
 */
export function judge({ status, interrupted, said, serial, limitS }) {
  const fail = sentence => {
    const shown = `${said}${serial}`.slice(-SERIAL_CHARACTERS_SHOWN).trim()
    throw new Refusal(`${shown}\n\nThe virtual machine ${sentence}`)
  }
  if (interrupted != null) fail(`was ended by ${interrupted}.`)
  if (serial.includes('VM-INSMOD-FAILED')) fail('could not load its modules.')
  if (serial.includes('VM-NO-PROGRAMS')) fail('could not unpack the programs.')
  if (serial.includes('VM-NO-ROOT')) fail("could not mount the host's files.")
  const done = /^VM-DONE rc=(\d+)\s*$/m.exec(serial)
  if (done == null && TIMED_OUT.includes(status)) fail(`hung: it was ended after ${limitS} s.`)
  if (done == null) fail(`crashed: QEMU ended with status ${status}, before the command did.`)
  const code = Number(done[1])
  if (status === ((64 + Math.min(code, 60)) << 1) + 1) return code
  return fail(`ended with status ${status} after a command with exit code ${code}.`)
}
