#pragma once
#include <linux/io_uring.h>

#include <cstddef>
#include <cstdint>

namespace mooncake::io {

// One io_uring instance over the raw system calls. Used by the thread that opened it, and by no other.
class Uring {
public:
  Uring() = default;
  Uring(const Uring &) = delete;
  Uring &operator=(const Uring &) = delete;
  ~Uring();

  // 0, or -errno. The best set of flags that this kernel has is used.
  int open(unsigned entries);
  // The kernel writes to the eventfd whenever completions are there, or wait to be fetched. 0, or -errno.
  int notify(int eventFd);

  // The next free submission entry, zeroed; null when the queue is full.
  io_uring_sqe *nextEntry();
  bool hasEntries() const { return localTail_ != loadAcquire(sqHead_); }
  // Submits the entries, waits until `waitFor` completions are there, and lets the kernel post those that it
  // deferred. 0, or -errno; entries that were not taken stay.
  int enter(unsigned waitFor);
  // Completions wait in the kernel for an enter: deferred, or because the completion queue is full.
  bool needsEnter() const;

  // Calls `each(userData, result)` for every completion in the queue; returns how many there were.
  template <typename Each> unsigned reap(Each &&each) {
    unsigned head = *cqHead_;
    const unsigned tail = loadAcquire(cqTail_);
    const unsigned count = tail - head;
    for (; head != tail; head++) {
      const io_uring_cqe &entry = cqes_[head & cqMask_];
      each(entry.user_data, entry.res);
    }
    __atomic_store_n(cqHead_, head, __ATOMIC_RELEASE);
    return count;
  }

  // Calls of io_uring_enter. Read by other threads for statistics only.
  uint64_t enters() const { return __atomic_load_n(&enters_, __ATOMIC_RELAXED); }

private:
  static unsigned loadAcquire(const unsigned *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
  int map(const io_uring_params &params);

  int fd_ = -1;
  uint64_t enters_ = 0;
  void *rings_ = nullptr;
  size_t ringsBytes_ = 0;
  io_uring_sqe *sqes_ = nullptr;
  size_t sqesBytes_ = 0;
  io_uring_cqe *cqes_ = nullptr;
  unsigned *sqHead_ = nullptr;
  unsigned *sqTail_ = nullptr;
  unsigned *sqFlags_ = nullptr;
  unsigned *cqHead_ = nullptr;
  unsigned *cqTail_ = nullptr;
  unsigned sqMask_ = 0;
  unsigned sqEntries_ = 0;
  unsigned cqMask_ = 0;
  unsigned localTail_ = 0;
};

// Why io_uring cannot be used here, as `<call>: -errno`; `error` 0 means that it can.
struct UringProbe {
  const char *call;
  int error;
};
UringProbe probeUring();

} // namespace mooncake::io
