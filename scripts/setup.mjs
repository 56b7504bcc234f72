// `npm run setup`: dependencies, addons, TypeScript. Plain JavaScript without imports from npm: nothing is installed yet.
import { setup } from './lib/setup.mjs'
import { main } from './lib/steps.mjs'

await main(setup)
