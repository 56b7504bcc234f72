#include "prefault.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "signals_blocked.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

namespace mooncake {
namespace {

/* The kernel holds the lock of the address space for a whole piece, and every mmap of the process waits for it, those of
 * V8 too: some milliseconds. Also the size of a huge page. */
constexpr uint64_t kPieceBytes = 2u << 20;

/* Zeroing pages is bound by the memory: more threads than this only take processors from others. */
constexpr unsigned kThreadsMax = 4;

unsigned ThreadCount() { return std::clamp(std::thread::hardware_concurrency() / 2, 1u, kThreadsMax); }

/* One huge page instead of 512 small ones, if it can be had (Linux 6.1): a device gets one address instead of many. Asking
 * for it is not subject to the policy for pages that nobody asked for. The kernel wants a page to begin with. What fails
 * here is taken page by page. */
bool TakeHugePage(uint8_t* piece) {
  return madvise(piece, static_cast<size_t>(sysconf(_SC_PAGESIZE)), MADV_POPULATE_WRITE) == 0 &&
         madvise(piece, kPieceBytes, MADV_COLLAPSE) == 0;
}

/* In a row. Each makes the kernel reclaim and compact memory, in vain where that is in too many pieces. */
constexpr unsigned kHugePageFailuresMax = 16;

int TakePages(const mooncake_region* region, uint64_t offset, uint64_t length_bytes) {
  if (madvise(region->base + offset, length_bytes, MADV_POPULATE_WRITE) == 0) return 0;
  if (errno != EINVAL) return errno;
  return AllocateAndTouch(region->fd, region->base + offset, offset, length_bytes);
}

}  // namespace

/* Allocated first: a touch that finds no memory ends in SIGBUS, a call gives an error. */
int AllocateAndTouch(int fd, uint8_t* bytes, uint64_t offset, uint64_t length_bytes) {
  const auto start = static_cast<off_t>(offset);
  const auto length = static_cast<off_t>(length_bytes);
  while (fallocate(fd, FALLOC_FL_KEEP_SIZE, start, length) != 0) {
    if (errno != EINTR) return errno;
  }
  const auto page_bytes = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  for (uint64_t page = 0; page < length_bytes; page += page_bytes) {
    /* Writes what was there, and only if it still is. An `or` with 0 might be compiled to a mere read. */
    uint8_t value = __atomic_load_n(bytes + page, __ATOMIC_RELAXED);
    __atomic_compare_exchange_n(bytes + page, &value, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  }
  return 0;
}

Prefault::Prefault(mooncake_region* region, void* context)
    : region_(region), length_bytes_(region->length_bytes), context_(context) {
  region_->retain(region_);
}

bool Prefault::HasMore() const {
  const bool closed = __atomic_load_n(&region_->length_bytes, __ATOMIC_RELAXED) == 0;
  return !closed && error_ == 0 && next_offset_ < length_bytes_;
}

Prefaulter::Prefaulter(std::function<void()> notify) : notify_(std::move(notify)) {
  const SignalsBlocked blocked;
  for (unsigned index = 0; index < ThreadCount(); index++) {
    try {
      threads_.emplace_back([this] { Work(); });
    } catch (const std::system_error&) {
      if (threads_.empty()) throw;
      return; /* Fewer do it, too. */
    }
    pthread_setname_np(threads_.back().native_handle(), "mooncake-pages");
  }
}

Prefaulter::~Prefaulter() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Prefaulter::Submit(std::shared_ptr<Prefault> prefault) {
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(prefault));
  }
  wake_.notify_all();
}

std::vector<std::shared_ptr<Prefault>> Prefaulter::TakeFinished() {
  const std::lock_guard lock(mutex_);
  return std::exchange(finished_, {});
}

void Prefaulter::Work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (stopping_) return;
    std::shared_ptr<Prefault> prefault = std::move(queue_.front());
    queue_.pop_front();
    if (prefault->HasMore()) {
      const uint64_t offset = prefault->next_offset_;
      prefault->next_offset_ += kPieceBytes;
      prefault->pieces_running_ += 1;
      queue_.push_back(prefault);
      const uint64_t piece_bytes = std::min(kPieceBytes, prefault->length_bytes_ - offset);
      const bool huge = piece_bytes == kPieceBytes && prefault->huge_page_failures_ < kHugePageFailuresMax;
      lock.unlock();
      const bool failed = huge && !TakeHugePage(prefault->region_->base + offset);
      const int error = TakePages(prefault->region_, offset, piece_bytes);
      lock.lock();
      if (huge) prefault->huge_page_failures_ = failed ? prefault->huge_page_failures_ + 1 : 0;
      prefault->pieces_running_ -= 1;
      if (error != 0) prefault->error_ = error;
    } else {
      prefault->queued_ = false;
    }
    /* The last to have had it: the others are out of its pages. */
    if (prefault->queued_ || prefault->pieces_running_ > 0) continue;
    finished_.push_back(std::move(prefault));
    lock.unlock();
    notify_();
    lock.lock();
  }
}

}  // namespace mooncake
