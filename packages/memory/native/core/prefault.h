#pragma once
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "../region_abi.h"

namespace mooncake {

/* A mapped Region whose pages are taken from the system, so that nobody waits for them when they are first touched. The
 * bytes stay what they are, whoever writes to them meanwhile. It retains the Region for as long as it lives. */
class Prefault {
 public:
  /* `context` is whatever the one who waits for it wants to find again. */
  Prefault(mooncake_region* region, void* context);
  ~Prefault() { region_->release(region_); }
  Prefault(const Prefault&) = delete;
  Prefault& operator=(const Prefault&) = delete;

  /* Once finished: whether all pages are there; if not, an errno, or 0 where the Region was closed. */
  bool complete() const { return error_ == 0 && next_offset_ >= length_bytes_; }
  int error() const { return error_; }
  uint64_t length_bytes() const { return length_bytes_; }
  void* context() const { return context_; }

 private:
  friend class Prefaulter;

  bool HasMore() const;

  mooncake_region* const region_;
  const uint64_t length_bytes_;
  void* const context_;
  /* Under the Prefaulter's lock. */
  uint64_t next_offset_ = 0;
  unsigned pieces_running_ = 0;
  unsigned huge_page_failures_ = 0;
  bool queued_ = true;
  int error_ = 0;
};

/* Threads that prefault several Regions, piece by piece in turns: each notices soon when its Region is closed. */
class Prefaulter {
 public:
  /* `notify` is called on one of the threads, after a Prefault has finished. Throws std::system_error where no thread can
   * be made. */
  explicit Prefaulter(std::function<void()> notify);
  /* Forgets what is not finished, once the pieces that are being taken are there. */
  ~Prefaulter();
  Prefaulter(const Prefaulter&) = delete;
  Prefaulter& operator=(const Prefaulter&) = delete;

  void Submit(std::shared_ptr<Prefault> prefault);
  /* What has finished since the last call: nothing touches its pages any more. */
  std::vector<std::shared_ptr<Prefault>> TakeFinished();

 private:
  void Work();

  const std::function<void()> notify_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<Prefault>> queue_;
  std::vector<std::shared_ptr<Prefault>> finished_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

/* What kernels before 5.14 get: `length_bytes` of the file are allocated, then mapped by a write to each page that
 * changes nothing. `bytes` is the mapping of `fd` at `offset`. 0, or an errno. */
int AllocateAndTouch(int fd, uint8_t* bytes, uint64_t offset, uint64_t length_bytes);

}  // namespace mooncake
