#include "uring.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <initializer_list>
#include <vector>

namespace mooncake::io {

namespace {

int setup(unsigned entries, io_uring_params *params) {
  return static_cast<int>(syscall(__NR_io_uring_setup, entries, params));
}

int registerWith(int fd, unsigned what, void *argument, unsigned count) {
  return syscall(__NR_io_uring_register, fd, what, argument, count) < 0 ? -errno : 0;
}

// Best first. Deferred task work lets the kernel finish operations only when we ask, in one batch (6.1);
// without it, at least no inter-processor interrupts (5.19); without that, plainly.
constexpr unsigned kSetupFlags[] = {
    IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
        IORING_SETUP_TASKRUN_FLAG,
    IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
    IORING_SETUP_CLAMP,
};

// One mapping for both rings, no lost completions, and sockets that wait without a kernel thread each (5.7).
constexpr unsigned kNeededFeatures = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | IORING_FEAT_FAST_POLL;

} // namespace

Uring::~Uring() {
  if (sqes_ != nullptr) munmap(sqes_, sqesBytes_);
  if (rings_ != nullptr) munmap(rings_, ringsBytes_);
  if (fd_ >= 0) close(fd_);
}

int Uring::open(unsigned entries) {
  io_uring_params params{};
  for (const unsigned flags : kSetupFlags) {
    params = {};
    params.flags = flags;
    fd_ = setup(entries, &params);
    if (fd_ >= 0 || errno != EINVAL) break;
  }
  if (fd_ < 0) return -errno;
  if ((params.features & kNeededFeatures) != kNeededFeatures) return -EOPNOTSUPP;
  return map(params);
}

int Uring::map(const io_uring_params &params) {
  const auto protection = PROT_READ | PROT_WRITE;
  const auto flags = MAP_SHARED | MAP_POPULATE;
  ringsBytes_ = std::max<size_t>(params.sq_off.array + params.sq_entries * sizeof(unsigned),
                                 params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe));
  void *rings = mmap(nullptr, ringsBytes_, protection, flags, fd_, IORING_OFF_SQ_RING);
  if (rings == MAP_FAILED) return -errno;
  rings_ = rings;
  sqesBytes_ = params.sq_entries * sizeof(io_uring_sqe);
  void *sqes = mmap(nullptr, sqesBytes_, protection, flags, fd_, IORING_OFF_SQES);
  if (sqes == MAP_FAILED) return -errno;
  sqes_ = static_cast<io_uring_sqe *>(sqes);

  auto *bytes = static_cast<uint8_t *>(rings);
  const auto word = [bytes](unsigned offset) { return reinterpret_cast<unsigned *>(bytes + offset); };
  sqHead_ = word(params.sq_off.head);
  sqTail_ = word(params.sq_off.tail);
  sqFlags_ = word(params.sq_off.flags);
  sqMask_ = *word(params.sq_off.ring_mask);
  sqEntries_ = params.sq_entries;
  cqHead_ = word(params.cq_off.head);
  cqTail_ = word(params.cq_off.tail);
  cqMask_ = *word(params.cq_off.ring_mask);
  cqes_ = reinterpret_cast<io_uring_cqe *>(bytes + params.cq_off.cqes);
  // Entries are used in order, so the indirection array is written once.
  unsigned *array = word(params.sq_off.array);
  for (unsigned i = 0; i < sqEntries_; i++) array[i] = i;
  localTail_ = *sqTail_;
  return 0;
}

int Uring::notify(int eventFd) { return registerWith(fd_, IORING_REGISTER_EVENTFD, &eventFd, 1); }

io_uring_sqe *Uring::nextEntry() {
  if (localTail_ - loadAcquire(sqHead_) == sqEntries_) return nullptr;
  io_uring_sqe *entry = &sqes_[localTail_ & sqMask_];
  memset(entry, 0, sizeof *entry);
  localTail_++;
  return entry;
}

int Uring::enter(unsigned waitFor) {
  __atomic_store_n(sqTail_, localTail_, __ATOMIC_RELEASE);
  __atomic_store_n(&enters_, enters_ + 1, __ATOMIC_RELAXED);
  const unsigned count = localTail_ - loadAcquire(sqHead_);
  return syscall(__NR_io_uring_enter, fd_, count, waitFor, IORING_ENTER_GETEVENTS, nullptr, 0) < 0 ? -errno : 0;
}

bool Uring::needsEnter() const {
  return (__atomic_load_n(sqFlags_, __ATOMIC_RELAXED) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

UringProbe probeUring() {
  io_uring_params params{};
  const int fd = setup(4, &params);
  if (fd < 0) return {"io_uring_setup", -errno};
  std::vector<uint8_t> memory(sizeof(io_uring_probe) + IORING_OP_LAST * sizeof(io_uring_probe_op));
  auto *probe = reinterpret_cast<io_uring_probe *>(memory.data());
  const int error = registerWith(fd, IORING_REGISTER_PROBE, probe, IORING_OP_LAST);
  close(fd);
  if (error != 0) return {"io_uring_register", error};
  if ((params.features & kNeededFeatures) != kNeededFeatures) return {"io_uring features", -EOPNOTSUPP};
  for (const unsigned op :
       {IORING_OP_RECV, IORING_OP_SEND, IORING_OP_ACCEPT, IORING_OP_CONNECT, IORING_OP_ASYNC_CANCEL}) {
    const bool supported = op <= probe->last_op && (probe->ops[op].flags & IO_URING_OP_SUPPORTED) != 0;
    if (!supported) return {"io_uring operations", -EOPNOTSUPP};
  }
  return {"", 0};
}

} // namespace mooncake::io
