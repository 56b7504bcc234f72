#include "queue_pair.h"

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
// 0.64 ms until a peer without a posted receive is asked again; nobody sends without one.
constexpr uint8_t kMinRnrTimer = 12;
constexpr uint8_t kRnrRetries = 6;

int modify(const Device &device, ibv_qp *qp, ibv_qp_attr &attributes, int mask, const char *to, std::string &what) {
  const int error = device.verbs().modifyQp(qp, &attributes, mask);
  if (error != 0) what = std::string("ibv_modify_qp to ") + to;
  return error;
}

} // namespace

int createQueuePair(Device &device, const QueuePairOrder &order, CreatedQueuePair &made, std::string &what) {
  ibv_qp_init_attr wanted{};
  wanted.send_cq = wanted.recv_cq = device.cq();
  wanted.qp_type = IBV_QPT_RC;
  wanted.cap.max_send_wr = order.sends;
  wanted.cap.max_recv_wr = order.receives;
  wanted.cap.max_send_sge = wanted.cap.max_recv_sge = 1;
  wanted.cap.max_inline_data = device.options().inlineBytesMax;
  errno = 0;
  made.qp = device.verbs().createQp(device.pd(), &wanted);
  if (made.qp == nullptr) {
    what = "ibv_create_qp";
    return errno == 0 ? EIO : errno;
  }
  device.queuePairs.fetch_add(1);
  made.inlineBytesMax = wanted.cap.max_inline_data;
  made.firstSequence = std::random_device()() & kSequenceMask;
  ibv_qp_attr init{};
  init.qp_state = IBV_QPS_INIT;
  init.pkey_index = device.options().pkeyIndex;
  init.port_num = device.options().port;
  init.qp_access_flags = static_cast<unsigned>(order.access);
  const int mask = IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS;
  return modify(device, made.qp, init, mask, "INIT", what);
}

int connectQueuePair(const Device &device, ibv_qp *qp, uint32_t firstSequence, const QueuePairAddress &to,
                     const ConnectionInfo &info, const PortState &port, std::string &what) {
  const DeviceOptions &options = device.options();
  if (qp == nullptr) {
    what = "the endpoint was closed";
    return ECANCELED;
  }
  if ((info.ethernet != 0) != port.ethernet) {
    what = "the two ends do not fit";
    return EINVAL;
  }
  ibv_qp_attr ready{};
  ready.qp_state = IBV_QPS_RTR;
  ready.path_mtu = static_cast<ibv_mtu>(std::min(port.mtu, info.mtu));
  ready.dest_qp_num = to.number;
  ready.rq_psn = to.firstSequence & kSequenceMask;
  ready.max_dest_rd_atomic = static_cast<uint8_t>(readsMaxOf(device));
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
  if (const int error = modify(device, qp, ready, mask, "RTR", what); error != 0) return error;
  ibv_qp_attr sending{};
  sending.qp_state = IBV_QPS_RTS;
  sending.timeout = options.ackTimeout;
  sending.retry_cnt = options.packetRetries;
  sending.rnr_retry = kRnrRetries;
  sending.sq_psn = firstSequence;
  const int readsMax = std::min({device.limits().max_qp_init_rd_atom, static_cast<int>(info.readsMax), kReadsMax});
  sending.max_rd_atomic = static_cast<uint8_t>(std::max(readsMax, 1));
  mask = IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC;
  return modify(device, qp, sending, mask, "RTS", what);
}

void destroyQueuePair(Device &device, ibv_qp *&qp) {
  if (qp == nullptr) return;
  device.verbs().destroyQp(qp);
  device.queuePairs.fetch_sub(1);
  qp = nullptr;
}

uint32_t readsMaxOf(const Device &device) {
  return static_cast<uint32_t>(std::min(device.limits().max_qp_rd_atom, kReadsMax));
}

} // namespace mooncake::rdma
