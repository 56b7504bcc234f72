#pragma once
#include <cstdint>

namespace mooncake::rdma {

// Who may send how many messages, so that none ever meets a peer without a posted receive.
//
// Each end posts `slots` receives for messages with bytes and kSpareReceives for those that only return credits, which
// its thread posts again by itself. A sender owns one credit for each of the peer's slots that it has not used. A
// receiver returns what was read with the next message, or, from half of its slots on, with one of its own: of those at
// most two can be unread, because each returns half, and there are no more. The third spare is for the first message of
// a connection, which says that it works.
constexpr uint32_t kSpareReceives = 3;

class CreditLedger {
public:
  explicit CreditLedger(uint32_t slots) : slots_(slots) {}

  // So many receives wait at the peer.
  void open(uint32_t peerSlots) { available_ = peerSlots_ = peerSlots; }

  bool hasCredit() const { return available_ > 0; }
  void spend() { available_--; }

  // The peer has posted again what was used. False where it claims more than it has.
  bool restore(uint32_t count) {
    if (count > peerSlots_ - available_) return false;
    available_ += count;
    return true;
  }

  // Receives here that were used and are posted again.
  void free(uint32_t count) { owed_ += count; }
  // Worth a message of its own.
  bool mustTell() const { return owed_ > 0 && owed_ * 2 >= slots_; }
  // What the next message returns.
  uint32_t settle() {
    const uint32_t owed = owed_;
    owed_ = 0;
    return owed;
  }

private:
  const uint32_t slots_;
  uint32_t peerSlots_ = 0;
  uint32_t available_ = 0;
  uint32_t owed_ = 0;
};

} // namespace mooncake::rdma
