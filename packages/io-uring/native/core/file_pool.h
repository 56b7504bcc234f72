#pragma once
#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "completion_queue.h"

namespace mooncake::io {

// Workers that block in the kernel for reads, writes and syncs of files.
class FilePool {
public:
  explicit FilePool(CompletionQueue &completions) : completions_(completions) {}
  // Everything has ended before.
  ~FilePool();
  void open(unsigned threads);

  // JavaScript thread.
  void submit(OperationList &batch);
  // Ends it if no worker has it yet; a running one ends by itself.
  void cancel(Operation &operation);
  uint64_t attempts() const { return attempts_.load(std::memory_order_relaxed); }

private:
  void work();
  int64_t attempt(Operation &operation);

  CompletionQueue &completions_;
  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable filled_;
  std::deque<Operation *> queue_;
  bool stopping_ = false;
  std::atomic<uint64_t> attempts_ = 0;
};

} // namespace mooncake::io
