import { rpcCompliance } from '@mooncake-ts/testkit'
import { rpc } from '@mooncake-ts/rpc'

rpcCompliance('rpc over TCP', {
  create: role => rpc({ listen: role === 'server' ? ['127.0.0.1:0'] : [], drainMs: 500 }),
})
