#pragma once
#include "device.h"

namespace mooncake::rdma {

// Work requests carry the serial of their queue pair and their number in it; the receive carries this bit.
constexpr uint32_t kReceiveBit = 0x80000000u;
constexpr uint32_t kNumberMask = kReceiveBit - 1;

struct QueuePairOrder {
  // Work requests in flight in each direction.
  uint32_t sends;
  uint32_t receives;
  // ibv_access_flags: what the peer may do with memory of this process.
  int access;
};

struct CreatedQueuePair {
  ibv_qp *qp = nullptr;
  uint32_t firstSequence = 0;
  uint32_t inlineBytesMax = 0;
};

// A reliable connection that can be given receives. 0 or an errno, with what failed in `what`; `made` has to be
// destroyed in either case.
int createQueuePair(Device &device, const QueuePairOrder &order, CreatedQueuePair &made, std::string &what);

// Both ends know each other. May take a second where the peer's address does not answer.
int connectQueuePair(const Device &device, ibv_qp *qp, uint32_t firstSequence, const QueuePairAddress &to,
                     const ConnectionInfo &info, const PortState &port, std::string &what);

// Nothing touches memory for it any more. Any thread; does nothing where there is none.
void destroyQueuePair(Device &device, ibv_qp *&qp);

// READs that this end answers at a time.
uint32_t readsMaxOf(const Device &device);

} // namespace mooncake::rdma
