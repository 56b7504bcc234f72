#pragma once
#include <deque>

#include "completion_queue.h"
#include "uring.h"

namespace mooncake::io {

// Carries operations through one Uring: fills entries, goes on after short results, cancels. One thread, like
// the Uring.
class RingDriver {
public:
  // 0, or -errno.
  int open(unsigned entries) { return ring_.open(entries); }
  int notify(int eventFd) { return ring_.notify(eventFd); }

  // Queue; `pump` makes them known to the kernel.
  void start(Operation &operation);
  // By index, because an operation that has ended may be another one by now.
  void cancel(uint32_t index);
  // Completes with `*woken = true` once `fd` is readable; the count that was read goes to `*count`.
  void watch(int fd, uint64_t *count, bool *woken);

  // Submits everything that is queued, in as many calls as that takes, and moves what ended to `ended`.
  // Waits for one completion if `wait` is set. False: the kernel has no memory now; call again later.
  bool pump(OperationList &ended, bool wait);
  // Operations started and not yet ended.
  size_t active() const { return activeCount_; }
  bool needsPump() const { return !queued_.empty() || !cancels_.empty() || ring_.needsEnter(); }
  uint64_t enters() const { return ring_.enters(); }

private:
  void fillEntries();
  void endQueued(OperationList &ended);
  void complete(uint64_t userData, int32_t result, OperationList &ended);
  void cancelAnswered(uint32_t index, int32_t result);
  void end(Operation &operation, OperationList &ended);

  Uring ring_;
  // Not yet given to the kernel, in order.
  std::deque<Operation *> queued_;
  std::vector<Operation *> cancels_;
  // By operation index: what this ring holds.
  std::vector<Operation *> active_;
  size_t activeCount_ = 0;
  bool *woken_ = nullptr;
};

} // namespace mooncake::io
