#include "operation.h"

#include <cerrno>
#include <climits>

namespace mooncake::io {

namespace {
// Operations are used again; one huge vector must not stay allocated for ever.
constexpr size_t kKeptPieces = 4096;
} // namespace

void Operation::reset(Opcode newOpcode, int newFd) {
  opcode = newOpcode;
  fd = newFd;
  flags = 0;
  cancelRequested = false;
  polling = false;
  result = 0;
  slots.clear();
  if (pieces_.capacity() > kKeptPieces) std::vector<iovec>().swap(pieces_);
  pieces_.clear();
  cursor_ = 0;
  remainingBytes_ = 0;
  movedBytes_ = 0;
  fileOffset_ = 0;
}

void Operation::add(uint8_t *base, uint64_t lengthBytes) {
  if (lengthBytes == 0) return;
  pieces_.push_back({base, lengthBytes});
  remainingBytes_ += lengthBytes;
}

unsigned Operation::pieceCount() const {
  const size_t left = pieces_.size() - cursor_;
  return left > IOV_MAX ? IOV_MAX : static_cast<unsigned>(left);
}

int Operation::messageFlags() const {
  const int whole = (flags & kWaitAll) != 0 ? MSG_WAITALL : 0;
  return opcode == Opcode::send ? whole | MSG_NOSIGNAL : whole;
}

msghdr *Operation::message() {
  message_ = {};
  message_.msg_iov = pieces();
  message_.msg_iovlen = pieceCount();
  return &message_;
}

void Operation::advance(uint64_t bytes) {
  remainingBytes_ -= bytes;
  movedBytes_ += bytes;
  while (bytes > 0) {
    iovec &piece = pieces_[cursor_];
    if (bytes < piece.iov_len) {
      piece.iov_base = static_cast<uint8_t *>(piece.iov_base) + bytes;
      piece.iov_len -= bytes;
      return;
    }
    bytes -= piece.iov_len;
    cursor_++;
  }
}

bool Operation::fold(int64_t attempt) {
  if (attempt == -EINTR && !cancelRequested) return false;
  if (!movesBytes()) {
    result = attempt;
    return true;
  }
  if (attempt < 0) {
    // What was moved before the failure counts; the next operation on this fd meets the failure again.
    result = movedBytes_ > 0 ? static_cast<int64_t>(movedBytes_) : attempt;
    return true;
  }
  advance(static_cast<uint64_t>(attempt));
  result = static_cast<int64_t>(movedBytes_);
  const bool whole = isFile() || (flags & kWaitAll) != 0;
  return !whole || attempt == 0 || remainingBytes_ == 0 || cancelRequested;
}

} // namespace mooncake::io
