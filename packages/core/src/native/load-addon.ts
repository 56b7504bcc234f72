import { fileURLToPath } from 'node:url'
import { MooncakeError } from '../errors/error.js'

export interface AddonSpec<Addon> {
  /** `import.meta.url` of a module in the package's `dist`. */
  readonly moduleUrl: string
  /** The function that `node-gyp-build` exports: the package depends on it, core does not. */
  readonly nodeGypBuild: (packageRoot: string) => unknown
  readonly packageName: string
  /** Of the interface between the addon and the JavaScript, as the binary says it. */
  readonly versionOf: (addon: Addon) => number
  readonly version: number
  /** What building it needs, as the rest of a sentence. */
  readonly needs: string
}

/**
 * Loads a package's addon: a build of its own, else a prebuilt one.
 * @throws ERR_NATIVE_MISSING, ERR_NATIVE_VERSION_MISMATCH
 */
export function loadAddon<Addon>({
  moduleUrl,
  nodeGypBuild,
  packageName,
  versionOf,
  version,
  needs,
}: AddonSpec<Addon>): Addon {
  const packageRoot = fileURLToPath(new URL('..', moduleUrl))
  let addon: Addon
  try {
    addon = nodeGypBuild(packageRoot) as Addon
  } catch (cause) {
    const platform = `${process.platform}-${process.arch}`
    throw new MooncakeError(
      'ERR_NATIVE_MISSING',
      `No binary of ${packageName} for ${platform} could be loaded from build/Release or prebuilds in ${packageRoot}. ` +
        `Build one with \`npm run build:native -w ${packageName}\`; it needs ${needs}.`,
      { cause },
    )
  }
  const found = versionOf(addon)
  if (found === version) return addon
  throw new MooncakeError(
    'ERR_NATIVE_VERSION_MISMATCH',
    `The binary of ${packageName} in ${packageRoot} has interface ${found}, the JavaScript ${version}: build or install it again.`,
  )
}
