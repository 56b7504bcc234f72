// `npm run bench`: see `npm run bench -- --help`.
import { setup } from './lib/setup.mjs'
import { main, runNode } from './lib/steps.mjs'

await main(async () => {
  await setup()
  return runNode(['bench/dist/main.js', ...process.argv.slice(2)])
})
