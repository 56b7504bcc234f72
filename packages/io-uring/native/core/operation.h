#pragma once
#include <sys/uio.h>

#include <cstdint>
#include <vector>

#include "sockets.h"

namespace mooncake::io {

// The numbers are shared with src/native.ts.
enum class Opcode : uint8_t { nop, recv, send, read, write, fsync, accept, connect, allocate };

enum OperationFlag : uint32_t {
  kWaitAll = 1, // recv and send: go on until the whole length is moved
  kDataOnly = 2, // fsync: leave out the metadata
};

// One operation, from prepare to delivery. It is written by the JavaScript thread until it is submitted, by
// its executor until that has reported it, and then by the JavaScript thread again: never by two at once, so
// it needs no lock.
class Operation {
public:
  uint32_t index = 0;
  uint32_t ring = 0;
  // Taken and not yet drained.
  bool live = false;
  Opcode opcode = Opcode::nop;
  uint32_t flags = 0;
  int fd = -1;
  // Set by the executor: what is left must not be tried again.
  bool cancelRequested = false;
  // io_uring: the kernel is waiting for the fd (see RingDriver), the operation itself comes after that.
  bool polling = false;
  // Bytes, a new fd, or -errno. Valid once the operation has ended.
  int64_t result = 0;
  // The slots whose memory is held for this operation.
  std::vector<uint32_t> slots;
  SocketAddress address;
  // allocate: what the file shall have room for, from the file offset on.
  uint64_t allocateBytes = 0;

  // Forgets everything but the index.
  void reset(Opcode newOpcode, int newFd);
  void add(uint8_t *base, uint64_t lengthBytes);
  void setFileOffset(uint64_t offsetBytes) { fileOffset_ = offsetBytes; }

  bool movesBytes() const { return opcode >= Opcode::recv && opcode <= Opcode::write; }
  bool isInput() const { return opcode == Opcode::recv || opcode == Opcode::accept; }
  bool isFile() const {
    return (opcode >= Opcode::read && opcode <= Opcode::fsync) || opcode == Opcode::allocate;
  }
  bool empty() const { return remainingBytes_ == 0; }

  // What the next attempt moves: at most IOV_MAX pieces, which is all that the kernel takes at once.
  iovec *pieces() { return &pieces_[cursor_]; }
  unsigned pieceCount() const;
  uint64_t fileOffset() const { return fileOffset_ + movedBytes_; }
  int messageFlags() const;
  // A header over pieces(), which lives as long as the operation.
  msghdr *message();

  // Takes the result of one attempt (-errno or a count). True: the operation has ended, with `result`. False:
  // try again with what is left. A short count is never the end by itself: only 0 is the end of a file or a
  // stream.
  bool fold(int64_t attempt);

private:
  void advance(uint64_t bytes);

  std::vector<iovec> pieces_;
  size_t cursor_ = 0;
  uint64_t remainingBytes_ = 0;
  uint64_t movedBytes_ = 0;
  uint64_t fileOffset_ = 0;
  msghdr message_{};
};

} // namespace mooncake::io
