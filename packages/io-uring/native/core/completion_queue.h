#pragma once
#include <mutex>
#include <vector>

#include "operation.h"

namespace mooncake::io {

using OperationList = std::vector<Operation *>;

// Ended operations on their way from the executors' threads to the JavaScript thread, with an eventfd as the
// doorbell. The inline ring lets the kernel ring the same doorbell, so one watcher sees everything.
class CompletionQueue {
public:
  CompletionQueue();
  CompletionQueue(const CompletionQueue &) = delete;
  CompletionQueue &operator=(const CompletionQueue &) = delete;
  ~CompletionQueue();

  // Below 0: the eventfd could not be made (-errno).
  int doorbell() const { return doorbell_; }
  // Any thread. Takes what is in `ended`, and leaves it empty.
  void push(OperationList &ended);
  void ring();
  // JavaScript thread: before looking, so that what comes later rings again.
  void silence();
  void take(OperationList &into);

private:
  const int doorbell_;
  std::mutex mutex_;
  OperationList ended_;
};

} // namespace mooncake::io
