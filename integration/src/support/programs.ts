import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { programPath } from '@mooncake-ts/cli'

export interface RunOptions {
  readonly stdin?: Uint8Array
  /** On top of the environment of the tests. */
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** What runs the program, e.g. `ip netns exec blue`. */
  readonly wrapper?: readonly string[]
  /** A program that takes longer is killed, and its exit code is null. @defaultValue 30 000 */
  readonly timeoutMs?: number
}

/** How a program ended, and all that it printed. */
export interface Run {
  readonly code: number | null
  readonly stdout: Buffer
  readonly stderr: string
  readonly seconds: number
}

/** Runs one of our programs to its end. */
export async function runProgram(
  program: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Run> {
  return await run(process.execPath, [programPath(program), ...args], options)
}

/** Runs any program to its end. */
export async function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<Run> {
  const { stdin, timeoutMs = 30_000 } = options
  const begun = performance.now()
  const child = start(command, args, options)
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs)
  const [stdout, stderr] = [collect(child.stdout!), collect(child.stderr!)]
  child.stdin!.on('error', () => {}) // It may end without reading all.
  child.stdin!.end(stdin)
  const [code] = (await once(child, 'close')) as [number | null]
  clearTimeout(timer)
  return {
    code,
    stdout: Buffer.concat(stdout),
    stderr: Buffer.concat(stderr).toString(),
    seconds: (performance.now() - begun) / 1000,
  }
}

/** Starts any program with pipes; whoever starts it ends it. */
export function start(
  command: string,
  args: readonly string[],
  { env, cwd, wrapper = [] }: RunOptions = {},
): ChildProcess {
  const [first, ...rest] = [...wrapper, command, ...args] as [string, ...string[]]
  return spawn(first, rest, { stdio: 'pipe', cwd, env: { ...withoutOurs(process.env), ...env } })
}

/** A developer's own settings must not change what is tested. */
function withoutOurs(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !/^(MOONCAKE|MC)_/.test(name)))
}

function collect(stream: NodeJS.ReadableStream): Buffer[] {
  const chunks: Buffer[] = []
  stream.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
  })
  return chunks
}
