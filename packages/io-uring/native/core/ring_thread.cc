#include "ring_thread.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <utility>

namespace mooncake::io {

namespace {
// Between attempts when the kernel has no memory for a submission.
constexpr auto kRetryDelay = std::chrono::milliseconds(1);
} // namespace

RingThread::RingThread(CompletionQueue &completions) : completions_(completions), wakeFd_(eventfd(0, EFD_CLOEXEC)) {}

RingThread::~RingThread() {
  if (thread_.joinable()) {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake();
    thread_.join();
  }
  if (wakeFd_ >= 0) close(wakeFd_);
}

int RingThread::open(unsigned entries) {
  if (wakeFd_ < 0) return -EMFILE;
  std::promise<int> opened;
  std::future<int> result = opened.get_future();
  thread_ = std::thread(&RingThread::run, this, entries, std::move(opened));
  return result.get();
}

void RingThread::submit(OperationList &batch) {
  bool mustWake;
  {
    const std::lock_guard lock(mutex_);
    for (Operation *operation : batch) inbox_.push_back({operation->index, operation});
    mustWake = std::exchange(asleep_, false);
  }
  batch.clear();
  if (mustWake) wake();
}

void RingThread::cancel(Operation &operation) {
  bool mustWake;
  {
    const std::lock_guard lock(mutex_);
    inbox_.push_back({operation.index, nullptr});
    mustWake = std::exchange(asleep_, false);
  }
  if (mustWake) wake();
}

void RingThread::wake() { (void)!eventfd_write(wakeFd_, 1); }

bool RingThread::takeInbox(bool &idle) {
  const std::lock_guard lock(mutex_);
  idle = asleep_ = inbox_.empty();
  for (const Request &request : inbox_) {
    if (request.operation != nullptr) driver_.start(*request.operation);
    else driver_.cancel(request.index);
  }
  inbox_.clear();
  return !stopping_;
}

// The thread that submits has to be the one that opened the ring (SINGLE_ISSUER).
void RingThread::run(unsigned entries, std::promise<int> opened) {
  const int error = driver_.open(entries);
  opened.set_value(error);
  if (error != 0) return;
  OperationList ended;
  bool idle;
  while (takeInbox(idle)) {
    if (woken_) driver_.watch(wakeFd_, &wakeCount_, &woken_);
    const bool complete = driver_.pump(ended, idle);
    if (!ended.empty()) completions_.push(ended);
    if (!complete) std::this_thread::sleep_for(kRetryDelay);
  }
  // The kernel writes to wakeCount_ until then; the destructor has made the eventfd readable.
  while (!woken_) driver_.pump(ended, true);
}

} // namespace mooncake::io
