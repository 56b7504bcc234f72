import { EVICTION_POLICIES } from '@mooncake-ts/store'
import { evictionPolicyCompliance } from '@mooncake-ts/testkit'

for (const [name, create] of Object.entries(EVICTION_POLICIES)) evictionPolicyCompliance(name, { create })
