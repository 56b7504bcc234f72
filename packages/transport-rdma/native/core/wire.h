#pragma once
#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

namespace mooncake::rdma {

constexpr uint32_t kConnectionMagic = 0x4d52434d; // "MCRM"
// Those that carry data, and the one for looking at windows.
constexpr size_t kQueuePairsMax = 16 + 1;

struct QueuePairAddress {
  uint32_t number;
  uint32_t firstSequence;
};

// What one end of a connection tells the other before queue pairs can be connected; sent as it lies in memory, which
// is little-endian on every platform that has RDMA.
struct ConnectionInfo {
  uint32_t magic = kConnectionMagic;
  uint8_t ethernet = 0;
  uint8_t mtu = 0; // ibv_mtu
  uint16_t lid = 0;
  std::array<uint8_t, 16> gid{};
  // The window table of this end.
  uint64_t tableAddress = 0;
  uint32_t tableRkey = 0;
  uint32_t tableSlots = 0;
  // READs that this end answers at a time.
  uint32_t readsMax = 0;
  // Which place in the rkeys of a window is this device's.
  uint32_t deviceNumber = 0;
  uint32_t queuePairCount = 0;
  uint32_t reserved = 0;
  std::array<QueuePairAddress, kQueuePairsMax> queuePairs{};

  std::vector<uint8_t> encode() const {
    const auto *bytes = reinterpret_cast<const uint8_t *>(this);
    return {bytes, bytes + sizeof *this};
  }

  // Nothing where a peer sent something else.
  static std::optional<ConnectionInfo> decode(const uint8_t *bytes, size_t lengthBytes) {
    ConnectionInfo info;
    if (lengthBytes != sizeof info) return std::nullopt;
    std::memcpy(&info, bytes, sizeof info);
    const bool valid = info.magic == kConnectionMagic && info.queuePairCount >= 1 &&
                       info.queuePairCount <= kQueuePairsMax && info.mtu >= 1 && info.mtu <= 5;
    return valid ? std::optional(info) : std::nullopt;
  }
};
static_assert(sizeof(ConnectionInfo) == 56 + 8 * kQueuePairsMax);

} // namespace mooncake::rdma
