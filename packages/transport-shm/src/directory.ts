import { randomBytes } from 'node:crypto'
import { accessSync, constants, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { getSystemErrorName } from 'node:util'
import { MooncakeError } from '@mooncake-ts/core'
import { native } from './native.js'

const SUFFIX = '.sock'
/** Of a name, so that one who guesses names meets nobody. */
const NAME_BYTES = 8
/** Of `sun_path`, less the end of the string and the mark of a socket that does not listen yet. */
const PATH_BYTES_MAX = 106
const BACKLOG = 511

/** Where the sockets of this host's processes are. An endpoint is `<boot id>/<name>`. */
export class SocketDirectory {
  readonly #path: string
  readonly #bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()

  constructor(path: string) {
    this.#path = path
  }

  /**
   * Makes it where it is missing.
   * @throws ERR_INVALID_PARAMS for a path that is too long, ERR_IO
   */
  prepare(): void {
    const longest = this.#pathOf('f'.repeat(2 * NAME_BYTES))
    if (Buffer.byteLength(longest) > PATH_BYTES_MAX) {
      const message = `shm.socketDirectory: ${longest} has more than the ${PATH_BYTES_MAX} bytes of a socket's path`
      throw new MooncakeError('ERR_INVALID_PARAMS', message)
    }
    try {
      mkdirSync(this.#path, { recursive: true, mode: 0o700 })
      accessSync(this.#path, constants.R_OK | constants.W_OK | constants.X_OK)
    } catch (cause) {
      throw new MooncakeError('ERR_IO', `shm.socketDirectory: ${(cause as Error).message}`, { cause })
    }
  }

  /**
   * A listening socket under a new name, and its endpoint. Removes what dead processes left.
   * @throws ERR_INVALID_PARAMS for a path that is too long, ERR_IO
   */
  listen(mode: number): { readonly fd: number; readonly path: string; readonly endpoint: string } {
    this.prepare()
    const name = randomBytes(NAME_BYTES).toString('hex')
    const path = this.#pathOf(name)
    this.#sweep()
    const fd = native().listen(path, BACKLOG, mode)
    if (fd >= 0) return { fd, path, endpoint: `${this.#bootId}/${name}` }
    throw new MooncakeError('ERR_IO', `shm.socketDirectory: listen on ${path}: ${getSystemErrorName(fd)}`)
  }

  /** The socket behind an endpoint; undefined where it is one of another host, or not an endpoint at all. */
  find(endpoint: string): string | undefined {
    const [bootId, name = ''] = endpoint.split('/')
    return bootId === this.#bootId && /^[0-9a-f]{16}$/.test(name) ? this.#pathOf(name) : undefined
  }

  has(endpoint: string): boolean {
    const path = this.find(endpoint)
    return path != null && existsSync(path)
  }

  #pathOf(name: string): string {
    return join(this.#path, name + SUFFIX)
  }

  /** A socket appears here only once it listens, so one that refuses is dead. */
  #sweep(): void {
    for (const file of readdirSync(this.#path)) {
      if (!file.endsWith(SUFFIX)) continue
      const path = join(this.#path, file)
      const fd = native().connect(path)
      if (fd >= 0) native().close(fd)
      else if (getSystemErrorName(fd) === 'ECONNREFUSED') rmSync(path, { force: true }) // Another may be faster.
    }
  }
}
