#pragma once
#include <memory>
#include <unordered_map>

#include "message_thread.h"

namespace mooncake::rdma {

struct MessageStats {
  uint32_t memoryRegions;
  uint32_t queuePairs;
  size_t streams;
};

// The streams of one device. It opens the device for itself: small messages do not wait for those who move bulk. One
// thread calls; what happens comes through the outbox, where an operation is a stream that should be looked at.
class MessageEngine {
public:
  using Stream = std::shared_ptr<MessageStream>;

  static std::unique_ptr<MessageEngine> open(std::shared_ptr<const Verbs> verbs, const DeviceOptions &device,
                                             const StreamOptions &streams, std::function<void()> ring,
                                             std::string &problem);
  MessageEngine(const MessageEngine &) = delete;
  MessageEngine &operator=(const MessageEngine &) = delete;
  ~MessageEngine();

  Outbox &outbox() { return outbox_; }
  const Device &device() const { return *device_; }

  // Ends with `created`, which carries what the peer needs.
  void create(uint32_t id);
  // Of one that was created. Ends with `connected`. The end that sends the first message hears of it when the peer's
  // device has that.
  void connect(uint32_t id, const StreamInfo &peer, bool first);
  // Ends with `closed`, when nothing touches its memory any more.
  void close(uint32_t id);
  // It has ended with `closed`, or was not created.
  void forget(uint32_t id) { streams_.erase(id); }
  // Null where it was forgotten.
  Stream find(uint32_t id) const;
  void poke(const Stream &stream) { thread_.poke(stream); }

  MessageStats stats() const { return {device_->memoryRegions, device_->queuePairs, thread_.streamCount()}; }

private:
  MessageEngine(std::unique_ptr<Device> device, const StreamOptions &streams, std::function<void()> ring);

  const std::unique_ptr<Device> device_;
  const StreamOptions options_;
  Outbox outbox_;
  uint32_t nextSerial_ = 1;
  std::unordered_map<uint32_t, Stream> streams_;
  // In this order: the message thread uses the keeper to its end. Connects, each up to a second long, are the
  // connector's: no beginning and no end waits behind those of others.
  TaskThread keeper_;
  TaskThread connector_;
  MessageThread thread_;
};

} // namespace mooncake::rdma
