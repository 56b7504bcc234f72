#pragma once
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "batch.h"

namespace mooncake {

/* Threads that run batches in the order of Submit, each batch in chunks that several threads share. */
class CopyPool {
 public:
  static constexpr uint64_t kChunkBytes = 1u << 20;

  /* `notify` is called on a worker, after a batch was finished. Throws std::system_error where no thread can be made. */
  CopyPool(unsigned thread_count, std::function<void()> notify);
  ~CopyPool() { Stop(); }
  CopyPool(const CopyPool&) = delete;
  CopyPool& operator=(const CopyPool&) = delete;

  /* Wakes one thread, which wakes the next where there is more than it takes: on a virtual machine each costs the one who
   * does it 50 µs, and the caller has other things to do. */
  void Submit(std::shared_ptr<Batch> batch);

  /* What has ended since the last call. Its Regions were released already. */
  std::vector<std::shared_ptr<Batch>> TakeFinished();

  /* Forgets what no thread has begun, waits for the chunks that run, ends the threads. Idempotent.
   * To wait for everything instead, call it when every batch has been taken. */
  void Stop();

  /* All of `batch`, on this thread. */
  static void RunInline(Batch& batch);

 private:
  void Work();

  const std::function<void()> notify_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<Batch>> queue_;
  std::vector<std::shared_ptr<Batch>> finished_;
  bool stopping_ = false;
  /* Threads without work. */
  unsigned waiting_ = 0;
  std::vector<std::thread> threads_;
};

}  // namespace mooncake
