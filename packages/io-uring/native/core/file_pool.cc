#include "file_pool.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace mooncake::io {

FilePool::~FilePool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  filled_.notify_all();
  for (std::thread &thread : threads_) thread.join();
}

void FilePool::open(unsigned threads) {
  for (unsigned i = 0; i < threads; i++) threads_.emplace_back(&FilePool::work, this);
}

void FilePool::submit(OperationList &batch) {
  {
    const std::lock_guard lock(mutex_);
    queue_.insert(queue_.end(), batch.begin(), batch.end());
  }
  if (batch.size() == 1) filled_.notify_one();
  else filled_.notify_all();
  batch.clear();
}

void FilePool::cancel(Operation &operation) {
  {
    const std::lock_guard lock(mutex_);
    if (std::erase(queue_, &operation) == 0) return;
  }
  operation.fold(-ECANCELED);
  OperationList ended{&operation};
  completions_.push(ended);
}

void FilePool::work() {
  OperationList ended;
  for (;;) {
    Operation *operation;
    {
      std::unique_lock lock(mutex_);
      filled_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;
      operation = queue_.front();
      queue_.pop_front();
    }
    while (!operation->fold(attempt(*operation))) continue;
    ended.push_back(operation);
    completions_.push(ended);
  }
}

int64_t FilePool::attempt(Operation &operation) {
  attempts_.fetch_add(1, std::memory_order_relaxed);
  const auto offset = static_cast<off_t>(operation.fileOffset());
  const auto pieces = static_cast<int>(operation.pieceCount());
  ssize_t result;
  switch (operation.opcode) {
  case Opcode::read:
    result = preadv(operation.fd, operation.pieces(), pieces, offset);
    break;
  case Opcode::write:
    result = pwritev(operation.fd, operation.pieces(), pieces, offset);
    break;
  case Opcode::allocate:
    result = fallocate(operation.fd, 0, offset, static_cast<off_t>(operation.allocateBytes));
    break;
  default:
    result = (operation.flags & kDataOnly) != 0 ? fdatasync(operation.fd) : fsync(operation.fd);
  }
  return result < 0 ? -errno : result;
}

} // namespace mooncake::io
