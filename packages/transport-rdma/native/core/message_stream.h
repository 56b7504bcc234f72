#pragma once
#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "byte_ring.h"
#include "credit_ledger.h"
#include "device_thread.h"
#include "queue_pair.h"

namespace mooncake::rdma {

struct StreamOptions {
  // Receives for messages with bytes, and the bytes of each.
  uint32_t slots;
  uint32_t slotBytes;
  // Of the ring from which messages are sent.
  uint32_t sendBytes;
};

// What one end of a stream tells the other; sent as it lies in memory.
struct StreamInfo {
  ConnectionInfo connection{};
  uint32_t slots = 0;
  uint32_t slotBytes = 0;

  std::vector<uint8_t> encode() const;
  // Nothing where a peer sent something else.
  static std::optional<StreamInfo> decode(const uint8_t *bytes, size_t lengthBytes);
};

// The immediate data of a message: credits that it returns, and whether it is the last.
constexpr uint32_t kLastMessage = 0x80000000u;
constexpr uint32_t kCreditMask = 0xffffu;

enum class MessageKind { bytes, credits, last, first };

enum class StreamState { creating, fresh, connected, draining, destroying };

// One connection that carries bytes in both directions by SEND and RECEIVE. JavaScript writes into a ring and reads out
// of slots; the message thread posts and harvests. Whatever both touch is under `mutex`.
class MessageStream {
public:
  MessageStream(Device &device, uint32_t id, uint32_t serial, const StreamOptions &options);
  MessageStream(const MessageStream &) = delete;
  MessageStream &operator=(const MessageStream &) = delete;
  ~MessageStream();

  // ---- the keeper's; only `connect` is the connector's
  // Queue pair, memory, and every receive posted. 0 or an errno, with what failed in `what`.
  int create(std::string &what);
  // Whether connecting it makes sense: it may have broken, or been given up, while others were connected.
  bool isFresh() const { return state_ == StreamState::fresh; }
  int connect(const ConnectionInfo &to, const PortState &port, std::string &what);
  // Nothing touches its memory any more; what has come can still be read.
  void destroy();
  StreamInfo describe(const PortState &port) const;

  // ---- JavaScript's
  // As many bytes as there is room for; where not all, it is told when there is some again.
  uint64_t write(const uint8_t *bytes, uint64_t lengthBytes);
  // 0: it is told when something comes.
  uint64_t readableBytes();
  // Half of the slots are free, which the peer should know.
  uint64_t read(uint8_t *bytes, uint64_t lengthBytes, bool &poke);
  // After what was written before.
  void finish();
  // The peer has finished: after this nothing more comes than `readableBytes` says.
  bool ended() const;
  // The peer has received everything, and that it was the last.
  bool finished() const;

private:
  struct Filled {
    uint32_t slot;
    uint32_t lengthBytes;
  };

  friend class MessageThread;

  uint32_t receiveCount() const { return options_.slots + kSpareReceives; }
  // One for each credit of the peer, and those without.
  uint32_t sendCount() const { return options_.slots + kSpareReceives; }
  uint8_t *slotAt(uint32_t slot) const { return memory_ + static_cast<uint64_t>(slot) * options_.slotBytes; }
  uint64_t idOf(uint32_t number) const { return static_cast<uint64_t>(serial) << 32 | number; }
  int postReceive(uint32_t slot);

  Device &device_;
  const StreamOptions options_;
  // Against being connected while it is destroyed.
  std::mutex changing_;
  CreatedQueuePair pair_;
  uint8_t *memory_ = nullptr;
  ibv_mr *mr_ = nullptr;
  uint32_t reservedCompletions_ = 0;

  mutable std::mutex mutex_;
  ByteRing ring_;
  std::deque<Filled> filled_;
  uint32_t readOfFirst_ = 0;
  std::vector<uint32_t> freed_;
  bool finishAsked_ = false;
  bool ended_ = false;
  bool finished_ = false;
  bool wantsRoom_ = false;
  bool wantsBytes_ = true;

public:
  const uint32_t id;
  // In the upper half of its work requests' ids: unique, so that late completions of others are told apart.
  const uint32_t serial;
  // The message thread is about to look at it.
  std::atomic<bool> poked{false};

private:
  // ---- the message thread's
  struct Posted {
    MessageKind kind;
    uint32_t lengthBytes;
  };

  // The connector looks at it.
  std::atomic<StreamState> state_{StreamState::creating};
  bool closeAsked_ = false;
  CreditLedger credits_;
  uint32_t peerSlotBytes_ = 0;
  std::deque<Posted> inFlight_;
  // The number of the first of them.
  uint32_t retired_ = 0;
  uint32_t receivesPosted_ = 0;
  bool lastSent_ = false;
  int32_t cause_ = 0;
  DeviceThread::TimePoint drainDeadline_{};
};

} // namespace mooncake::rdma
