/** How an operation ended: `OperationStatus` of native/core/outbox.h, or an `ibv_wc_status`. */
export const Status = {
  done: 0,
  cancelled: -1,
  accessDenied: -2,
  notRegisteredThere: -3,
  endpointGone: -4,
  localLength: 1,
  localQueuePair: 2,
  localProtection: 4,
  flushed: 5,
  remoteInvalid: 9,
  remoteAccess: 10,
  remoteOperation: 11,
  retryExceeded: 12,
  rnrRetryExceeded: 13,
} as const

const TEXTS: Readonly<Record<number, string>> = {
  [Status.notRegisteredThere]: 'the peer could not register the memory for this device',
  [Status.endpointGone]: 'the connection between the devices is gone',
  [Status.localLength]: 'local length error',
  [Status.localQueuePair]: 'local queue pair error, as when the port is down',
  [Status.localProtection]: 'local protection error',
  [Status.flushed]: 'the connection between the devices broke',
  [Status.remoteInvalid]: 'the peer takes the request for invalid',
  [Status.remoteAccess]: 'the peer refused the access',
  [Status.remoteOperation]: 'the peer could not complete the request',
  [Status.retryExceeded]: 'the peer did not answer',
  [Status.rnrRetryExceeded]: 'the peer was not ready',
}

export function statusText(status: number): string {
  return TEXTS[status] ?? `work completion status ${status}`
}

/** What another try, over another connection, may mend: this operation was not what broke it. */
export function isWorthRetrying(status: number): boolean {
  return status !== Status.remoteAccess && status !== Status.localProtection && status !== Status.localLength
}
