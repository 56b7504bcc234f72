#include "completion_queue.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>

namespace mooncake::io {

namespace {
int openDoorbell() {
  const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return fd < 0 ? -errno : fd;
}
} // namespace

CompletionQueue::CompletionQueue() : doorbell_(openDoorbell()) {}

CompletionQueue::~CompletionQueue() {
  if (doorbell_ >= 0) close(doorbell_);
}

void CompletionQueue::push(OperationList &ended) {
  bool first;
  {
    const std::lock_guard lock(mutex_);
    first = ended_.empty();
    ended_.insert(ended_.end(), ended.begin(), ended.end());
  }
  ended.clear();
  if (first) ring();
}

void CompletionQueue::ring() {
  // Fails only when the counter is at its top: then it rings already.
  (void)!eventfd_write(doorbell_, 1);
}

void CompletionQueue::silence() {
  eventfd_t ignored;
  (void)!eventfd_read(doorbell_, &ignored);
}

void CompletionQueue::take(OperationList &into) {
  const std::lock_guard lock(mutex_);
  into.insert(into.end(), ended_.begin(), ended_.end());
  ended_.clear();
}

} // namespace mooncake::io
