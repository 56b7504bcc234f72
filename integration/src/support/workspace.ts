import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The root of the repository; this file lies in integration/dist-test/support when it runs. */
export const workspaceRoot = dirname(dirname(dirname(dirname(fileURLToPath(import.meta.url)))))
