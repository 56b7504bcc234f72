/** Of the commands that are loaded only when they are run. */
export const REPLAY_SUMMARY =
  'Replay a KV-cache workload through a cluster on this machine, every byte verified.'
export const SIMULATE_SUMMARY =
  "Hit ratios of an eviction policy over a trace, beside LRU and Belady's optimum. Starts nothing."
