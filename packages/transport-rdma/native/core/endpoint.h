#pragma once
#include <chrono>
#include <deque>
#include <list>
#include <memory>
#include <mutex>
#include <unordered_set>
#include <vector>

#include "operation.h"
#include "queue_pair.h"

namespace mooncake::rdma {

using TimePoint = std::chrono::steady_clock::time_point;

// A window that is looked up at the peer before the operations on it are posted.
struct Check {
  uint32_t endpoint;
  uint32_t slot;
  Token token;
  std::vector<Operation *> operations;
  // Where the slot is read to; below 0 before it is posted.
  int landing = -1;
  int mixedLooks = 0;
  // When to look again; zero while it is queued or on its way.
  TimePoint again{};
  TimePoint deadline{};
};

// What a work request stands for: a slice of an operation, a check, or only the end of what was posted before it.
struct Posted {
  Operation *operation;
  Check *check;
};

// A reliable connection to a queue pair of a peer.
struct QueuePair {
  ibv_qp *qp = nullptr;
  // In the upper half of its work requests' ids: unique, so that late completions of others are told apart.
  uint32_t serial = 0;
  uint32_t firstSequence = 0;
  uint32_t depth = 0;
  uint32_t inlineBytesMax = 0;
  bool receivePosted = false;
  // In their order; the number of the first is `retired`.
  std::deque<Posted> inFlight{};
  uint32_t retired = 0;

  uint32_t nextNumber() const { return (retired + static_cast<uint32_t>(inFlight.size())) & kNumberMask; }
  uint64_t idOf(uint32_t number) const { return static_cast<uint64_t>(serial) << 32 | number; }
  bool awaits(uint32_t number) const { return ((number - retired) & kNumberMask) < inFlight.size(); }
  bool hasRoom() const { return inFlight.size() < depth; }
  bool drained() const { return inFlight.empty() && !receivePosted; }
};

enum class EndpointState { fresh, connected, draining, destroying };

// Looks at windows that are on their way at a time, on the queue pair that is kept for them.
constexpr uint32_t kLooksMax = 16;

// The queue pairs of one connection to a device of a peer. The active end posts; the passive one only answers.
//
// The first one only looks at windows. A look among data would come back after all that was posted before it, which
// may be megabytes, and by then nothing would be left to send: the wire would be idle for a round trip, each time.
class Endpoint {
public:
  Endpoint(Device &device, uint32_t id) : device_(device), id(id) {}
  Endpoint(const Endpoint &) = delete;
  Endpoint &operator=(const Endpoint &) = delete;
  ~Endpoint() { destroy(); }

  // Makes queue pairs that can receive: so many for data, and that for looks. 0 or an errno, with what failed in `what`.
  int create(uint32_t dataPairs, uint32_t depth, uint32_t firstSerial, std::string &what);
  // Both ends know each other. May take a second where the peer's address does not answer.
  int connect(const ConnectionInfo &remote, const PortState &port, std::string &what);
  // Nothing touches memory for it any more.
  void destroy();

  void describe(ConnectionInfo &info) const;

private:
  Device &device_;
  uint32_t reservedCompletions_ = 0;
  // Connecting may take a second, and its end does not wait its turn behind that of others.
  std::mutex changing_;
  int createOne(QueuePair &pair, uint32_t depth, std::string &what);

public:
  const uint32_t id;
  std::vector<QueuePair> pairs;
  ConnectionInfo remote;

  // ---- the data thread's
  EndpointState state = EndpointState::fresh;
  // The first status that was no flush: why it broke.
  int32_t cause = 0;
  bool broken = false;
  bool closeAsked = false;
  TimePoint drainDeadline{};
  size_t nextPair = 0;
  std::deque<Operation *> waiting;
  std::deque<Check *> checksWaiting;
  bool hasSomethingToPost() const { return !waiting.empty() || !checksWaiting.empty(); }
  // It is in the list of those that have.
  bool listed = false;
  std::unordered_set<Operation *> operations;
};

} // namespace mooncake::rdma
