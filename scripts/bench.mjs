// `npm run bench`: see `npm run bench -- --help`.
import { setup } from './lib/setup.mjs'
import { main, runNode } from './lib/steps.mjs'
import { benchInMachine, needsMachine } from './rdma/bench.mjs'

await main(async () => {
  await setup()
  const args = process.argv.slice(2)
  return needsMachine(args) ? benchInMachine(args) : runNode(['bench/dist/main.js', ...args])
})
