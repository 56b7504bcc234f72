/** An owner that could not be opened is asked again after 10 s: one hiccup is no failure of a test. */
export const NEAR_DEADLINE_MS = 30_000
/** Of a test that waits so, and does something then. */
export const NEAR_TEST_TIMEOUT_MS = 60_000
