import { transportCompliance } from '@mooncake-ts/testkit'
import { tcp } from '@mooncake-ts/transport-tcp'

transportCompliance('transport-tcp', { create: () => tcp() })
transportCompliance('transport-tcp on threads', { create: () => tcp({ engine: 'threads' }) })
