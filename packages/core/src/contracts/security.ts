/** What every listener and every connection of a process share. */
export interface Security {
  /** The cluster secret; absent: everybody who can connect is trusted. */
  readonly secret?: string
  /** Without a secret listeners bind loopback only, unless somebody says that it is wanted. */
  readonly allowInsecure: boolean
}
