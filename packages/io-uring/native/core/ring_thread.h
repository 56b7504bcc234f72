#pragma once
#include <future>
#include <mutex>
#include <thread>

#include "executor.h"
#include "ring_driver.h"

namespace mooncake::io {

// A native thread with a ring of its own: large copies by the kernel happen there and not on the JavaScript
// thread.
class RingThread final : public Executor {
public:
  explicit RingThread(CompletionQueue &completions);
  // Everything has ended before.
  ~RingThread() override;
  // Starts the thread. 0, or -errno.
  int open(unsigned entries);

  void submit(OperationList &batch) override;
  void cancel(Operation &operation) override;
  uint64_t enters() const override { return driver_.enters(); }

private:
  struct Request {
    uint32_t index;
    // Null: cancel what has this index.
    Operation *operation;
  };

  void run(unsigned entries, std::promise<int> opened);
  // Moves the inbox to the driver; there was none if `idle`. False: the thread shall end.
  bool takeInbox(bool &idle);
  void wake();

  CompletionQueue &completions_;
  std::thread thread_;
  int wakeFd_;

  std::mutex mutex_;
  // In order: a cancel that comes late finds nothing, because what uses the index again comes behind it.
  std::vector<Request> inbox_;
  // The thread waits in the kernel; whoever fills the inbox wakes it.
  bool asleep_ = false;
  bool stopping_ = false;

  // The thread's own.
  RingDriver driver_;
  uint64_t wakeCount_ = 0;
  bool woken_ = true;
};

} // namespace mooncake::io
