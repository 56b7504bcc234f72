import { MooncakeError, type RpcHandler, type RpcMethod, type RpcService } from '@mooncake-ts/core'
import type { BatchOp, Op } from '../metrics/op-metrics.js'
import { BATCH_KEYS_MAX } from '../limits.js'
import { bitmapOf, unpackLengths } from '../packed-keys.js'
import {
  ADD_OK,
  DEPLOYMENT_MODE,
  Exists,
  Heartbeat,
  LeaseWrites,
  List,
  ReadRoutes,
  Register,
  Remove,
  REMOVE_FAILED,
  RemoveAll,
  RemoveByRegex,
  ReportStale,
  SyncCompleted,
  SyncReplicas,
  Unregister,
  WriteRoutes,
  type WriteRoutesMessage,
} from '../protocol.js'
import type { MasterService } from './master-service.js'
import { RoutesEncoder } from './route-codec.js'
import type { Membership } from '../membership/membership.js'
import type { NodeRecord } from '../membership/node-record.js'
import type { NodeInfo, WriteRouteRequest } from '@mooncake-ts/core'

/** Lets the world call the directory. */
export function handleDirectory(rpc: RpcService, master: MasterService): Disposable[] {
  return [...handleMembers(rpc, master), ...handleKeys(rpc, master), ...handleRemoves(rpc, master)]
}

function handleMembers(rpc: RpcService, master: MasterService): Disposable[] {
  const { members, ops } = master
  const counted = counter(rpc, master)
  return [
    counted('register_client', Register, request => {
      const { heartbeatMs, clientTtlMs } = master.options
      let epoch: number | undefined
      try {
        epoch = register(members, request)
        return { epoch, heartbeatMs, clientTtlMs }
      } finally {
        ops.segments('mount_segment', request.segments.length, epoch == null)
      }
    }),
    counted('unregister_client', Unregister, ({ nodeId, epoch }) => {
      const { size } = members.require(nodeId, epoch).segments
      members.unregister(nodeId, epoch)
      ops.segments('unmount_segment', size, false)
      return {}
    }),
    counted('ping', Heartbeat, ({ nodeId, epoch, segments }) => {
      members.beat(nodeId, epoch, segments)
      return {}
    }),
    counted('sync_completed', SyncCompleted, ({ nodeId, epoch }) => {
      const node = members.require(nodeId, epoch)
      node.syncing = false
      master.tombstones.forget(node.name)
      return {}
    }),
    rpc.handle(SyncReplicas, request => {
      const { adds, removes } = request
      try {
        const results = master.sync.apply(request)
        ops.batch(
          'add_replica',
          results.length,
          count(results, result => result !== ADD_OK),
        )
        ops.batch('remove_replica', removes.keys.length, 0)
        return { results }
      } catch (error) {
        ops.batch('add_replica', adds.keys.length, adds.keys.length)
        ops.batch('remove_replica', removes.keys.length, removes.keys.length)
        throw error
      }
    }),
  ]
}

/** Gives the epoch of its new life. @throws ERR_INVALID_PARAMS */
function register(members: Membership, request: NodeInfo & { readonly deploymentMode: string }): number {
  if (request.deploymentMode !== DEPLOYMENT_MODE) {
    const message = `This master runs in mode ${DEPLOYMENT_MODE}, the node in ${request.deploymentMode}`
    throw new MooncakeError('ERR_INVALID_PARAMS', message)
  }
  return members.register(request).epoch
}

function handleKeys(rpc: RpcService, master: MasterService): Disposable[] {
  const { table, members, ops } = master
  const counted = counter(rpc, master)
  const scratch = new Uint16Array(BATCH_KEYS_MAX)
  return [
    rpc.handle(Exists, keys => {
      const lengths = unpackLengths(keys, scratch)
      const present = bitmapOf(lengths.length)
      table.hasMany(keys.bytes, lengths, present)
      ops.batch('exist_key', lengths.length, 0)
      return { present }
    }),
    rpc.handle(ReadRoutes, ({ keys }) => {
      const routes = new RoutesEncoder(members)
      let missing = 0
      for (const key of keys) if (!routes.push(table.find(key))) missing++
      ops.batch('get_replica_list', keys.length, missing)
      return routes.message
    }),
    rpc.handle(WriteRoutes, ({ nodeId, requests }) => {
      const answer = writeRoutes(master, requests, nodeId)
      ops.batch(
        'get_write_route',
        requests.length,
        count(answer.candidates, row => row.length === 0),
      )
      return answer
    }),
    rpc.handle(LeaseWrites, ({ nodeId, count: wanted, byteLengthMax, candidatesMax }) => {
      const request = { key: '', byteLength: byteLengthMax, candidatesMax, preferredSegments: [] }
      const candidates = master.router
        .route(request, nodeId)
        .map(({ node: { nodeId: id, name, rpcEndpoint }, availableBytes, score }) => {
          return { nodeId: id, nodeName: name, rpcEndpoint: rpcEndpoint!, availableBytes, score }
        })
      ops.batch('get_write_route', 1, candidates.length === 0 ? 1 : 0)
      return { candidates, firstGeneration: master.generations.take(wanted) }
    }),
    counted('report_stale', ReportStale, ({ routes }) => {
      for (const { key, nodeId, generation } of routes) {
        const node = members.byId(nodeId)
        if (node != null) table.removeOwner(key, node.owner, generation ?? Number.MAX_SAFE_INTEGER)
      }
      return {}
    }),
    counted('list_keys', List, ({ prefix = '', limit, cursor = 0 }) => table.page(cursor, limit, prefix)),
  ]
}

function handleRemoves(rpc: RpcService, master: MasterService): Disposable[] {
  const { remover, ops } = master
  const counted = counter(rpc, master)
  return [
    rpc.handle(Remove, async ({ keys }) => {
      const answer = await remover.remove(keys)
      ops.batch(
        'remove',
        keys.length,
        count(answer.outcomes, outcome => outcome === REMOVE_FAILED),
      )
      return answer
    }),
    counted('remove_by_regex', RemoveByRegex, ({ pattern }) => remover.removeByRegex(pattern)),
    counted('remove_all', RemoveAll, () => remover.removeAll()),
  ]
}

function writeRoutes(
  { table, members, router, generations }: MasterService,
  requests: readonly WriteRouteRequest[],
  callerId: string | undefined,
): WriteRoutesMessage {
  const existing = new RoutesEncoder(members)
  const nodes: WriteRoutesMessage['nodes'] = []
  const indexes = new Map<NodeRecord, number>()
  const indexOf = (node: NodeRecord): number => {
    let index = indexes.get(node)
    if (index == null) {
      index = nodes.push({ nodeId: node.nodeId, nodeName: node.name, rpcEndpoint: node.rpcEndpoint! }) - 1
      indexes.set(node, index)
    }
    return index
  }
  const candidates = requests.map(request => {
    const isThere = existing.push(table.find(request.key))
    const chosen = router.route(request, callerId)
    if (!isThere) router.book(chosen, request.byteLength)
    return chosen.flatMap(({ node, availableBytes, score }) => [indexOf(node), availableBytes, score])
  })
  return { existing: existing.message, nodes, candidates, firstGeneration: generations.take(requests.length) }
}

/** Serves a method and counts its requests and failures. */
function counter(rpc: RpcService, { ops }: MasterService) {
  return <Request, Response>(
    op: Exclude<Op, BatchOp>,
    method: RpcMethod<Request, Response>,
    handler: RpcHandler<Request, Response>,
  ): Disposable =>
    rpc.handle(method, async (request, context) => {
      try {
        const response = await handler(request, context)
        ops.single(op, false)
        return response
      } catch (error) {
        ops.single(op, true)
        throw error
      }
    })
}

function count<T>(values: Iterable<T>, counts: (value: T) => boolean): number {
  let matching = 0
  for (const value of values) if (counts(value)) matching++
  return matching
}
