import { attachments } from './attachments.js'
import { aCall, aHandler } from './call.js'
import { theHandshake, aServer } from './hostile.js'
import { listening, aConnectionToNowhere } from './listen.js'
import { connectionsToOneEndpoint, metrics } from './pool.js'
import { stop } from './stop.js'

/** What holds for every RpcService, whatever carries its connections. */
export function rpcSuites(): void {
  describe('attachments', attachments)
  describe('a call', aCall)
  describe('a handler', aHandler)
  describe('the handshake', theHandshake)
  describe('a server', aServer)
  describe('listening', listening)
  describe('a connection to nowhere', aConnectionToNowhere)
  describe('the connections to one endpoint', connectionsToOneEndpoint)
  describe('metrics', metrics)
  describe('stop', stop)
}
