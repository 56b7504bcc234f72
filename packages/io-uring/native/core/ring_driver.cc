#include "ring_driver.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>

namespace mooncake::io {

namespace {

// Values of user_data that are not an Operation, which has three zero bits at the end.
constexpr uint64_t kWatch = 1;
constexpr uint64_t kCancel = 2; // the index of the operation lies above the three bits
constexpr uint64_t kTagMask = 7;
// The kernel moves at most this many bytes at once (MAX_RW_COUNT); the length in an entry has 32 bits.
constexpr size_t kAttemptBytesMax = 0x7ffff000;
// Pieces of deferred work that one enter runs at least, if there are as many (6.13 and later; all, before).
constexpr size_t kWorkPerEnter = 20;

uint64_t address(const void *pointer) { return reinterpret_cast<uint64_t>(pointer); }

void fillMessage(io_uring_sqe &entry, Operation &operation) {
  const bool send = operation.opcode == Opcode::send;
  entry.msg_flags = static_cast<uint32_t>(operation.messageFlags());
  if (operation.pieceCount() == 1) {
    entry.opcode = send ? IORING_OP_SEND : IORING_OP_RECV;
    entry.addr = address(operation.pieces()->iov_base);
    entry.len = static_cast<uint32_t>(std::min(operation.pieces()->iov_len, kAttemptBytesMax));
  } else {
    entry.opcode = send ? IORING_OP_SENDMSG : IORING_OP_RECVMSG;
    entry.addr = address(operation.message());
    entry.len = 1;
  }
}

void fillFile(io_uring_sqe &entry, Operation &operation) {
  const bool write = operation.opcode == Opcode::write;
  entry.off = operation.fileOffset();
  if (operation.pieceCount() == 1) {
    entry.opcode = write ? IORING_OP_WRITE : IORING_OP_READ;
    entry.addr = address(operation.pieces()->iov_base);
    entry.len = static_cast<uint32_t>(std::min(operation.pieces()->iov_len, kAttemptBytesMax));
  } else {
    entry.opcode = write ? IORING_OP_WRITEV : IORING_OP_READV;
    entry.addr = address(operation.pieces());
    entry.len = operation.pieceCount();
  }
}

void fillPoll(io_uring_sqe &entry, const Operation &operation) {
  entry.opcode = IORING_OP_POLL_ADD;
  entry.poll32_events = operation.isInput() ? POLLIN : POLLOUT;
}

void fillOperation(io_uring_sqe &entry, Operation &operation) {
  entry.fd = operation.fd;
  entry.user_data = address(&operation);
  if (operation.polling) return fillPoll(entry, operation);
  switch (operation.opcode) {
  case Opcode::nop:
    entry.opcode = IORING_OP_NOP;
    return;
  case Opcode::recv:
  case Opcode::send:
    return fillMessage(entry, operation);
  case Opcode::read:
  case Opcode::write:
    return fillFile(entry, operation);
  case Opcode::fsync:
    entry.opcode = IORING_OP_FSYNC;
    entry.fsync_flags = (operation.flags & kDataOnly) != 0 ? IORING_FSYNC_DATASYNC : 0;
    return;
  case Opcode::allocate:
    entry.opcode = IORING_OP_FALLOCATE;
    entry.off = operation.fileOffset();
    entry.addr = operation.allocateBytes;
    return;
  case Opcode::accept:
    entry.opcode = IORING_OP_ACCEPT;
    entry.accept_flags = SOCK_CLOEXEC;
    return;
  case Opcode::connect:
    entry.opcode = IORING_OP_CONNECT;
    entry.addr = address(&operation.address.storage);
    entry.off = operation.address.bytes;
    return;
  }
}

} // namespace

void RingDriver::start(Operation &operation) {
  if (operation.index >= active_.size()) active_.resize(operation.index + 1, nullptr);
  active_[operation.index] = &operation;
  activeCount_++;
  queued_.push_back(&operation);
}

void RingDriver::cancel(uint32_t index) {
  if (index >= active_.size() || active_[index] == nullptr) return;
  Operation &operation = *active_[index];
  if (operation.cancelRequested) return;
  operation.cancelRequested = true;
  cancels_.push_back(&operation);
}

void RingDriver::watch(int fd, uint64_t *count, bool *woken) {
  woken_ = woken;
  *woken = false;
  io_uring_sqe *entry = ring_.nextEntry();
  while (entry == nullptr) {
    ring_.enter(0);
    entry = ring_.nextEntry();
  }
  entry->opcode = IORING_OP_READ;
  entry->fd = fd;
  entry->addr = address(count);
  entry->len = sizeof *count;
  entry->user_data = kWatch;
}

// Cancels go first: whatever they are meant for is in the kernel already, and a new operation in the same
// place is not.
void RingDriver::fillEntries() {
  while (!cancels_.empty()) {
    io_uring_sqe *entry = ring_.nextEntry();
    if (entry == nullptr) return;
    entry->opcode = IORING_OP_ASYNC_CANCEL;
    entry->fd = -1;
    entry->addr = address(cancels_.back());
    entry->user_data = static_cast<uint64_t>(cancels_.back()->index) << 3 | kCancel;
    cancels_.pop_back();
  }
  while (!queued_.empty()) {
    io_uring_sqe *entry = ring_.nextEntry();
    if (entry == nullptr) return;
    fillOperation(*entry, *queued_.front());
    queued_.pop_front();
  }
}

// A cancelled operation that the kernel has not seen needs no kernel to end it.
void RingDriver::endQueued(OperationList &ended) {
  std::erase_if(queued_, [&](Operation *operation) {
    if (!operation->cancelRequested) return false;
    operation->fold(-ECANCELED);
    end(*operation, ended);
    return true;
  });
}

bool RingDriver::pump(OperationList &ended, bool wait) {
  const size_t endedBefore = ended.size();
  size_t fruitless = 0;
  for (;;) {
    if (!cancels_.empty()) endQueued(ended);
    fillEntries();
    const bool waitNow = wait && queued_.empty() && cancels_.empty() && ended.size() == endedBefore;
    const bool enter = waitNow || ring_.hasEntries() || ring_.needsEnter();
    const int error = enter ? ring_.enter(waitNow ? 1 : 0) : 0;
    const unsigned reaped = ring_.reap([&](uint64_t userData, int32_t result) { complete(userData, result, ended); });
    fruitless = enter && reaped == 0 ? fruitless + 1 : 0;
    // The kernel may leave its hint set when it has raced with us, so it cannot be followed for ever. But what it
    // defers need not end an operation (a receive that waits for more), and of that, one enter may leave some for
    // the next, without ringing again: each operation and the watch have one piece of work at most.
    const bool hinted = ring_.needsEnter() && fruitless * kWorkPerEnter <= activeCount_;
    const bool more = !queued_.empty() || !cancels_.empty() || ring_.hasEntries() || hinted;
    if (!more) return true;
    if (error < 0 && error != -EINTR && reaped == 0) return false;
    wait = false;
  }
}

void RingDriver::complete(uint64_t userData, int32_t result, OperationList &ended) {
  if ((userData & kTagMask) == kCancel) return cancelAnswered(static_cast<uint32_t>(userData >> 3), result);
  if (userData == kWatch) {
    *woken_ = true;
    return;
  }
  auto &operation = *reinterpret_cast<Operation *>(userData);
  // A socket that somebody made non-blocking does not wait by itself: wait for it, then try again.
  const bool wouldBlock = result == -EAGAIN && !operation.isFile();
  const bool pollEnded = operation.polling && result >= 0;
  operation.polling = wouldBlock && !operation.polling;
  if ((wouldBlock || pollEnded) && !operation.cancelRequested) return queued_.push_back(&operation);
  if (pollEnded || wouldBlock) result = -ECANCELED;
  if (operation.fold(result)) return end(operation, ended);
  queued_.push_back(&operation);
}

// The kernel does not find an operation whose deferred work is just about to run: a receive that waits for more
// goes back to waiting after that, and would wait for ever. So it is looked for again until it has ended.
void RingDriver::cancelAnswered(uint32_t index, int32_t result) {
  Operation *operation = active_[index];
  if (result == -ENOENT && operation != nullptr && operation->cancelRequested) cancels_.push_back(operation);
}

void RingDriver::end(Operation &operation, OperationList &ended) {
  active_[operation.index] = nullptr;
  activeCount_--;
  // A cancel that has not gone out yet would meet whatever uses this place next.
  if (operation.cancelRequested) std::erase(cancels_, &operation);
  ended.push_back(&operation);
}

} // namespace mooncake::io
