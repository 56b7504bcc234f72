#include "endpoint.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>

namespace mooncake::rdma {

namespace {

constexpr uint32_t kSequenceMask = 0xffffff;
constexpr uint8_t kHopLimit = 64;
// READs on the way at a time; more does not help, and few devices allow it.
constexpr int kReadsMax = 16;
// 0.64 ms until a peer without a posted receive is asked again; nobody sends here.
constexpr uint8_t kMinRnrTimer = 12;
constexpr uint8_t kRnrRetries = 6;

int modify(const Device &device, ibv_qp *qp, ibv_qp_attr &attributes, int mask, const char *to, std::string &what) {
  const int error = device.verbs().modifyQp(qp, &attributes, mask);
  if (error != 0) what = std::string("ibv_modify_qp to ") + to;
  return error;
}

} // namespace

int Endpoint::create(uint32_t dataPairs, uint32_t depth, uint32_t firstSerial, std::string &what) {
  const uint32_t lookDepth = std::min(depth, kLooksMax);
  // With that of the receive.
  const uint32_t completions = dataPairs * (depth + 1) + lookDepth + 1;
  if (!device_.reserveCompletions(completions)) {
    what = "the completion queue has no room for another endpoint";
    return ENOSPC;
  }
  reservedCompletions_ = completions;
  pairs.resize(dataPairs + 1);
  std::random_device random;
  for (uint32_t i = 0; i < pairs.size(); i++) {
    pairs[i].serial = firstSerial + i;
    pairs[i].firstSequence = random() & kSequenceMask;
    const int error = createOne(pairs[i], i == 0 ? lookDepth : depth, what);
    if (error != 0) return error;
  }
  return 0;
}

int Endpoint::createOne(QueuePair &pair, uint32_t depth, std::string &what) {
  const Verbs &verbs = device_.verbs();
  ibv_qp_init_attr wanted{};
  wanted.send_cq = wanted.recv_cq = device_.cq();
  wanted.qp_type = IBV_QPT_RC;
  wanted.cap.max_send_wr = depth;
  wanted.cap.max_recv_wr = 1;
  wanted.cap.max_send_sge = wanted.cap.max_recv_sge = 1;
  wanted.cap.max_inline_data = device_.options().inlineBytesMax;
  errno = 0;
  pair.qp = verbs.createQp(device_.pd(), &wanted);
  if (pair.qp == nullptr) {
    what = "ibv_create_qp";
    return errno == 0 ? EIO : errno;
  }
  device_.queuePairs.fetch_add(1);
  pair.depth = depth;
  pair.inlineBytesMax = wanted.cap.max_inline_data;
  ibv_qp_attr init{};
  init.qp_state = IBV_QPS_INIT;
  init.pkey_index = device_.options().pkeyIndex;
  init.port_num = device_.options().port;
  init.qp_access_flags = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE;
  const int mask = IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS;
  if (const int error = modify(device_, pair.qp, init, mask, "INIT", what); error != 0) return error;
  // A tripwire: where the peer's request breaks this queue pair, its flush is the only sign.
  ibv_recv_wr receive{};
  receive.wr_id = pair.idOf(kReceiveBit);
  ibv_recv_wr *bad = nullptr;
  const int error = ibv_post_recv(pair.qp, &receive, &bad);
  if (error != 0) what = "ibv_post_recv";
  pair.receivePosted = error == 0;
  return error;
}

int Endpoint::connect(const ConnectionInfo &to, const PortState &port, std::string &what) {
  remote = to;
  if (to.queuePairCount != pairs.size() || (to.ethernet != 0) != port.ethernet) {
    what = "the two ends do not fit";
    return EINVAL;
  }
  for (size_t i = 0; i < pairs.size(); i++) {
    const int error = connectOne(pairs[i], to.queuePairs[i], to, port, what);
    if (error != 0) return error;
  }
  return 0;
}

int Endpoint::connectOne(QueuePair &pair, const QueuePairAddress &to, const ConnectionInfo &info,
                         const PortState &port, std::string &what) {
  const DeviceOptions &options = device_.options();
  const std::lock_guard lock(changing_);
  if (pair.qp == nullptr) {
    what = "the endpoint was closed";
    return ECANCELED;
  }
  ibv_qp_attr ready{};
  ready.qp_state = IBV_QPS_RTR;
  ready.path_mtu = static_cast<ibv_mtu>(std::min(port.mtu, info.mtu));
  ready.dest_qp_num = to.number;
  ready.rq_psn = to.firstSequence & kSequenceMask;
  ready.max_dest_rd_atomic = static_cast<uint8_t>(std::min(device_.limits().max_qp_rd_atom, kReadsMax));
  ready.min_rnr_timer = kMinRnrTimer;
  ready.ah_attr.port_num = options.port;
  ready.ah_attr.sl = options.serviceLevel;
  ready.ah_attr.dlid = info.lid;
  const bool hasGid = std::any_of(info.gid.begin(), info.gid.end(), [](uint8_t byte) { return byte != 0; });
  if (port.ethernet || (hasGid && info.lid == 0)) {
    ready.ah_attr.is_global = 1;
    std::memcpy(ready.ah_attr.grh.dgid.raw, info.gid.data(), 16);
    ready.ah_attr.grh.sgid_index = static_cast<uint8_t>(port.gidIndex);
    ready.ah_attr.grh.hop_limit = kHopLimit;
    ready.ah_attr.grh.traffic_class = options.trafficClass;
  }
  int mask = IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC |
             IBV_QP_MIN_RNR_TIMER;
  if (const int error = modify(device_, pair.qp, ready, mask, "RTR", what); error != 0) return error;
  ibv_qp_attr sending{};
  sending.qp_state = IBV_QPS_RTS;
  sending.timeout = options.ackTimeout;
  sending.retry_cnt = options.packetRetries;
  sending.rnr_retry = kRnrRetries;
  sending.sq_psn = pair.firstSequence;
  const int readsMax = std::min({device_.limits().max_qp_init_rd_atom, static_cast<int>(info.readsMax), kReadsMax});
  sending.max_rd_atomic = static_cast<uint8_t>(std::max(readsMax, 1));
  mask = IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC;
  return modify(device_, pair.qp, sending, mask, "RTS", what);
}

void Endpoint::destroy() {
  const std::lock_guard lock(changing_);
  for (QueuePair &pair : pairs) {
    if (pair.qp == nullptr) continue;
    device_.verbs().destroyQp(pair.qp);
    device_.queuePairs.fetch_sub(1);
    pair.qp = nullptr;
  }
  device_.releaseCompletions(reservedCompletions_);
  reservedCompletions_ = 0;
}

void Endpoint::describe(ConnectionInfo &info) const {
  info.readsMax = static_cast<uint32_t>(std::min(device_.limits().max_qp_rd_atom, kReadsMax));
  info.queuePairCount = static_cast<uint32_t>(pairs.size());
  for (size_t i = 0; i < pairs.size(); i++) {
    info.queuePairs[i] = {pairs[i].qp->qp_num, pairs[i].firstSequence};
  }
}

} // namespace mooncake::rdma
