import type { RemoteWindow, Transport } from '@mooncake-ts/core'
import type { WireRegion } from '../peers/protocol.js'

/** By which this transport reaches memory of a peer, where it does. */
export function windowFor(transport: Transport, region: WireRegion | undefined): RemoteWindow | undefined {
  return region?.windows.find(window => window.scheme === transport.scheme && transport.reaches(window))
}
