// `npm run stage`, before `npm pack` or `lerna publish`: adds to every package what it ships beside its own files.
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { isOptional } from './lib/native.mjs'
import { main, Refusal, root } from './lib/steps.mjs'

await main(() => {
  for (const folder of readdirSync(join(root, 'packages')).map(name => join(root, 'packages', name))) {
    const { name } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
    if (!existsSync(join(folder, 'dist'))) throw new Refusal(`${name} is not built: npm run build.`)
    copyFileSync(join(root, 'LICENSE'), join(folder, 'LICENSE'))
    if (existsSync(join(folder, 'binding.gyp'))) addPrebuild(folder, name)
  }
})

/**
 * The addon that was built here, under the name that prebuildify gives it and node-gyp-build looks for. Those of
 * other platforms are put beside it by whoever built them there.
 */
function addPrebuild(folder, name) {
  const built = join(folder, 'build', 'Release')
  const addon = existsSync(built) ? readdirSync(built).find(file => file.endsWith('.node')) : undefined
  if (addon == null && isOptional(basename(folder))) {
    console.log(`stage: ${name} goes without an addon for this platform: none was built here.`)
    return
  }
  if (addon == null) throw new Refusal(`The addon of ${name} is not built: npm run build:native.`)
  const libc = process.report.getReport().header.glibcVersionRuntime == null ? 'musl' : 'glibc'
  const prebuilds = join(folder, 'prebuilds', `${process.platform}-${process.arch}`)
  rmSync(prebuilds, { recursive: true, force: true })
  mkdirSync(prebuilds, { recursive: true })
  copyFileSync(join(built, addon), join(prebuilds, `${name.replace('/', '+')}.${libc}.node`))
}
