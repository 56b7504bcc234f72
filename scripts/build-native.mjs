// `npm run build:native`: the addons, where their sources changed.
import { buildNative } from './lib/native.mjs'
import { main } from './lib/steps.mjs'

await main(buildNative)
