#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace mooncake::io {

// Memory that operations may use, and how to let go of it.
struct Memory {
  uint8_t *base;
  uint64_t lengthBytes;
  void *owner;
  void (*release)(void *owner);
};

// Memory under small numbers. JavaScript thread only. What is attached is released once it is detached and no
// operation that is in flight holds it (I2).
class MemoryTable {
public:
  uint32_t attach(const Memory &memory);
  // False: there is no such slot.
  bool detach(uint32_t slot);
  // Null: there is no such slot, or it was detached.
  const Memory *find(double slot) const;
  void hold(uint32_t slot) { slots_[slot].holders++; }
  void letGo(uint32_t slot);
  void releaseAll();
  // Slots that new operations can use.
  size_t attached() const { return attached_; }

private:
  struct Slot {
    Memory memory;
    uint32_t holders;
    bool attached;
  };
  void releaseUnused(uint32_t slot);

  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
  size_t attached_ = 0;
};

} // namespace mooncake::io
