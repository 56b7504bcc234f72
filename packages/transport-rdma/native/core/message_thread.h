#pragma once
#include <memory>
#include <unordered_map>
#include <vector>

#include "message_stream.h"
#include "task_thread.h"

namespace mooncake::rdma {

// The thread of a device that sends and receives the messages of its streams. What is slow, destroying queue pairs, runs
// on `keeper`. A stream that breaks is brought to rest and destroyed before that is reported (I3).
class MessageThread final : public DeviceThread {
public:
  using Stream = std::shared_ptr<MessageStream>;

  MessageThread(Device &device, Outbox &outbox, TaskThread &keeper)
      : DeviceThread(device, outbox), keeper_(keeper) {}
  ~MessageThread() override { stop(); }

  // Any thread. `ready` runs on the message thread once the stream's completions are understood.
  void add(Stream stream, std::function<void()> ready);
  // `first` says whether this end sends the first message; `connected` is told when the peer has it.
  void connected(Stream stream, const StreamInfo &peer, bool first);
  // There is something to send, or slots to post again.
  void poke(const Stream &stream);
  void close(Stream stream);

  size_t streamCount() const { return streamCount_; }

private:
  void onCompletion(const ibv_wc &completion) override;
  bool tend(TimePoint now) override;
  void publish() override { outbox_.add(news_); }
  TimePoint nextTend() const override;
  bool atRest() const override { return streams_.empty(); }
  bool awaits() const override { return !streams_.empty(); }
  void breakAllDown(int32_t status) override;

  void received(MessageStream &stream, uint32_t slot, const ibv_wc &completion);
  void sent(MessageStream &stream, uint32_t number, int32_t status);
  void retire(MessageStream &stream, int32_t status);
  void touch(MessageStream &stream) { touched_.push_back(stream.serial); }
  // JavaScript should look at the stream.
  void tell(MessageStream &stream);

  void serve(MessageStream &stream);
  bool sendBytes(MessageStream &stream);
  bool sendEmpty(MessageStream &stream, MessageKind kind);
  bool give(MessageStream &stream, ibv_send_wr *first, uint32_t count);

  void breakDown(MessageStream &stream, int32_t status);
  void destroy(MessageStream &stream);
  void settle(MessageStream &stream);

  TaskThread &keeper_;
  // By serial.
  std::unordered_map<uint32_t, Stream> streams_;
  // Serials of those that may have something to send.
  std::vector<uint32_t> touched_;
  std::vector<Completion> news_;
  size_t draining_ = 0;
  std::atomic<size_t> streamCount_{0};
};

} // namespace mooncake::rdma
