import { errnoName, checkResult } from './errno.js'
import { native } from './native.js'

/**
 * Takes the lock of an open file (flock), for as long as the file stays open: the kernel gives it back when
 * the process ends, however it does. False where somebody else has it, also this process by another open.
 * @throws ERR_IO for a file that cannot be locked
 */
export function tryLockFile(fd: number): boolean {
  const result = native().lockFile(fd)
  if (result < 0 && errnoName(result) === 'EAGAIN') return false
  checkResult('flock', result)
  return true
}
