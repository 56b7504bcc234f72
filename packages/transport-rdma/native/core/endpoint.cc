#include "endpoint.h"

#include <algorithm>
#include <cerrno>

namespace mooncake::rdma {

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
  for (uint32_t i = 0; i < pairs.size(); i++) {
    pairs[i].serial = firstSerial + i;
    const int error = createOne(pairs[i], i == 0 ? lookDepth : depth, what);
    if (error != 0) return error;
  }
  return 0;
}

int Endpoint::createOne(QueuePair &pair, uint32_t depth, std::string &what) {
  CreatedQueuePair made;
  const int failed = createQueuePair(device_, {.sends = depth, .receives = 1, .access = kRegionAccess}, made, what);
  pair.qp = made.qp;
  pair.firstSequence = made.firstSequence;
  pair.inlineBytesMax = made.inlineBytesMax;
  pair.depth = depth;
  if (failed != 0) return failed;
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
  if (to.queuePairCount != pairs.size()) {
    what = "the two ends do not fit";
    return EINVAL;
  }
  for (size_t i = 0; i < pairs.size(); i++) {
    const QueuePair &pair = pairs[i];
    const std::lock_guard lock(changing_);
    const int error = connectQueuePair(device_, pair.qp, pair.firstSequence, to.queuePairs[i], to, port, what);
    if (error != 0) return error;
  }
  return 0;
}

void Endpoint::destroy() {
  const std::lock_guard lock(changing_);
  for (QueuePair &pair : pairs) destroyQueuePair(device_, pair.qp);
  device_.releaseCompletions(reservedCompletions_);
  reservedCompletions_ = 0;
}

void Endpoint::describe(ConnectionInfo &info) const {
  info.readsMax = readsMaxOf(device_);
  info.queuePairCount = static_cast<uint32_t>(pairs.size());
  for (size_t i = 0; i < pairs.size(); i++) {
    info.queuePairs[i] = {pairs[i].qp->qp_num, pairs[i].firstSequence};
  }
}

} // namespace mooncake::rdma
