#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>

namespace mooncake::rdma {

// Bytes on their way out: written, then posted in pieces, then released in the same order when the device has sent them.
class ByteRing {
public:
  struct Piece {
    uint8_t *at;
    uint32_t lengthBytes;
  };

  ByteRing() = default;
  ByteRing(uint8_t *base, uint64_t capacityBytes) : base_(base), capacityBytes_(capacityBytes) {}

  uint64_t roomBytes() const { return capacityBytes_ - (written_ - released_); }
  uint64_t unpostedBytes() const { return written_ - posted_; }

  // As many as there is room for.
  uint64_t write(const uint8_t *bytes, uint64_t lengthBytes) {
    const uint64_t taken = std::min(lengthBytes, roomBytes());
    const uint64_t at = written_ % capacityBytes_;
    const uint64_t first = std::min(taken, capacityBytes_ - at);
    if (first > 0) std::memcpy(base_ + at, bytes, first);
    if (taken > first) std::memcpy(base_, bytes + first, taken - first);
    written_ += taken;
    return taken;
  }

  // The next bytes that lie side by side, which count as posted now.
  Piece post(uint32_t lengthBytesMax) {
    const uint64_t at = posted_ % capacityBytes_;
    const uint64_t lengthBytes = std::min({unpostedBytes(), capacityBytes_ - at, static_cast<uint64_t>(lengthBytesMax)});
    posted_ += lengthBytes;
    return {base_ + at, static_cast<uint32_t>(lengthBytes)};
  }

  void release(uint64_t lengthBytes) { released_ += lengthBytes; }

private:
  uint8_t *base_ = nullptr;
  uint64_t capacityBytes_ = 0;
  uint64_t written_ = 0;
  uint64_t posted_ = 0;
  uint64_t released_ = 0;
};

} // namespace mooncake::rdma
