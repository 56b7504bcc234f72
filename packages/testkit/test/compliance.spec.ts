import { inProcess, InProcessNetwork, transportCompliance } from '@mooncake-ts/testkit'

const network = new InProcessNetwork()
transportCompliance('in-process', { create: () => inProcess({ network }) })
