#pragma once
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace mooncake::rdma {

constexpr size_t kDevicesMax = 8;

enum class WindowState : uint32_t { shut, registering, open, refused };

enum WindowAccess : uint32_t { kMayRead = 1, kMayWrite = 2 };

struct Token {
  uint64_t low;
  uint64_t high;
  bool operator==(const Token &) const = default;
};

// What peers READ before they touch a window: the authority on who may do what, kept in the memory of the owner. It
// spans two cache lines, of which a device may read an old and a new one: each has half of the token, which no
// other exposure has, so that a mixed image is never taken for an open window.
struct alignas(128) WindowSlot {
  std::atomic<uint64_t> tokenLow;
  std::atomic<WindowState> state;
  uint32_t access;
  uint64_t address;
  uint64_t lengthBytes;
  uint64_t reserved[4];
  std::atomic<uint64_t> tokenHigh;
  // By the number of the device in its owner; 0 where the device has none.
  std::array<uint32_t, kDevicesMax> rkeys;
};
static_assert(sizeof(WindowSlot) == 128);
static_assert(offsetof(WindowSlot, tokenHigh) == 64);

struct Window {
  uint64_t address;
  uint64_t lengthBytes;
  uint32_t access;
};

// The windows of a process, in memory that every device registers for reading. One thread writes.
class WindowTable {
public:
  explicit WindowTable(size_t slotCount) : slots_(slotCount), tokenHighs_(slotCount) {
    for (size_t i = slotCount; i > 0; i--) free_.push_back(static_cast<uint32_t>(i - 1));
  }

  uint8_t *memory() { return reinterpret_cast<uint8_t *>(slots_.data()); }
  size_t lengthBytes() const { return slots_.size() * sizeof(WindowSlot); }
  size_t slotCount() const { return slots_.size(); }
  size_t inUse() const { return slots_.size() - free_.size(); }

  // Below 0: the table is full. The window is `registering`: peers that come early look again.
  int64_t add(const Token &token, const Window &window) {
    if (free_.empty()) return -1;
    const uint32_t index = free_.back();
    free_.pop_back();
    WindowSlot &slot = slots_[index];
    slot.access = window.access;
    slot.address = window.address;
    slot.lengthBytes = window.lengthBytes;
    tokenHighs_[index] = token.high;
    slot.state.store(WindowState::registering, std::memory_order_release);
    slot.tokenLow.store(token.low, std::memory_order_release);
    return index;
  }

  // Opens it with what each device knows it by, or refuses it where no device could register its memory.
  void publish(uint32_t index, const std::array<uint32_t, kDevicesMax> &rkeys) {
    WindowSlot &slot = slots_[index];
    bool any = false;
    for (const uint32_t rkey : rkeys) any |= rkey != 0;
    slot.rkeys = rkeys;
    slot.tokenHigh.store(tokenHighs_[index], std::memory_order_release);
    slot.state.store(any ? WindowState::open : WindowState::refused, std::memory_order_release);
  }

  // From here on nobody finds it. Operations that found it before may still be under way. Idempotent.
  void shut(uint32_t index) {
    WindowSlot &slot = slots_[index];
    slot.tokenLow.store(0, std::memory_order_release);
    slot.tokenHigh.store(0, std::memory_order_release);
    // Seen by every device before anything that comes after.
    slot.state.store(WindowState::shut, std::memory_order_seq_cst);
  }

  // Others may have the place. It must be shut and at rest.
  void remove(uint32_t index) { free_.push_back(index); }

private:
  std::vector<WindowSlot> slots_;
  // Of windows that are not published yet: nobody must find their second line before it is whole.
  std::vector<uint64_t> tokenHighs_;
  std::vector<uint32_t> free_;
};

} // namespace mooncake::rdma
