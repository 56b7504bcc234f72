// `npm start`: a cluster of real processes replays a workload; see `npm start -- --help`.
import { setup } from './lib/setup.mjs'
import { main, runNode } from './lib/steps.mjs'

await main(async () => {
  await setup()
  return runNode(['packages/cli/dist/bin/mooncake.js', 'replay', ...process.argv.slice(2)])
})
