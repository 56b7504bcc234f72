#include "memory_table.h"

namespace mooncake::io {

uint32_t MemoryTable::attach(const Memory &memory) {
  attached_++;
  const Slot slot{memory, 0, true};
  if (free_.empty()) {
    slots_.push_back(slot);
    return static_cast<uint32_t>(slots_.size() - 1);
  }
  const uint32_t number = free_.back();
  free_.pop_back();
  slots_[number] = slot;
  return number;
}

bool MemoryTable::detach(uint32_t slot) {
  if (slot >= slots_.size() || !slots_[slot].attached) return false;
  slots_[slot].attached = false;
  attached_--;
  releaseUnused(slot);
  return true;
}

const Memory *MemoryTable::find(double slot) const {
  // Written so that NaN fails, too.
  if (!(slot >= 0 && slot < static_cast<double>(slots_.size()))) return nullptr;
  const auto number = static_cast<uint32_t>(slot);
  if (number != slot || !slots_[number].attached) return nullptr;
  return &slots_[number].memory;
}

void MemoryTable::letGo(uint32_t slot) {
  slots_[slot].holders--;
  releaseUnused(slot);
}

void MemoryTable::releaseUnused(uint32_t number) {
  Slot &slot = slots_[number];
  if (slot.attached || slot.holders > 0) return;
  slot.memory.release(slot.memory.owner);
  slot.memory = {};
  free_.push_back(number);
}

void MemoryTable::releaseAll() {
  for (uint32_t number = 0; number < slots_.size(); number++) {
    if (slots_[number].attached) detach(number);
  }
}

} // namespace mooncake::io
