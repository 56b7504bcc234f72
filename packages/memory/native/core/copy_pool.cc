#include "copy_pool.h"

#include <pthread.h>

#include <limits>
#include <utility>

#include "signals_blocked.h"

namespace mooncake {

CopyPool::CopyPool(unsigned thread_count, std::function<void()> notify) : notify_(std::move(notify)) {
  const SignalsBlocked blocked;
  try {
    for (unsigned index = 0; index < thread_count; index++) {
      threads_.emplace_back([this] { Work(); });
      pthread_setname_np(threads_.back().native_handle(), "mooncake-copy");
    }
  } catch (...) {
    Stop();
    throw;
  }
}

void CopyPool::Submit(std::shared_ptr<Batch> batch) {
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(batch));
  }
  wake_.notify_one();
}

std::vector<std::shared_ptr<Batch>> CopyPool::TakeFinished() {
  const std::lock_guard lock(mutex_);
  return std::exchange(finished_, {});
}

void CopyPool::Stop() {
  std::deque<std::shared_ptr<Batch>> forgotten;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    forgotten.swap(queue_);
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void CopyPool::RunInline(Batch& batch) {
  while (const auto chunk = batch.Take(std::numeric_limits<uint64_t>::max())) batch.Run(*chunk);
  batch.ReleaseRegions();
}

void CopyPool::Work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    waiting_ += 1;
    wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    waiting_ -= 1;
    if (stopping_) return;
    const std::shared_ptr<Batch> batch = queue_.front();
    const auto chunk = batch->Take(kChunkBytes);
    if (batch->exhausted()) queue_.pop_front();
    batch->chunks_running += 1;
    const bool more = !queue_.empty() && waiting_ > 0;

    lock.unlock();
    if (more) wake_.notify_one();
    if (chunk) batch->Run(*chunk);
    lock.lock();

    batch->chunks_running -= 1;
    if (!batch->exhausted() || batch->chunks_running > 0) continue;
    lock.unlock();
    batch->ReleaseRegions();
    lock.lock();
    finished_.push_back(batch);
    lock.unlock();
    notify_();
    lock.lock();
  }
}

}  // namespace mooncake
