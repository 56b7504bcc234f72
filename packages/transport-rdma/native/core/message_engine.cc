#include "message_engine.h"

#include <cerrno>

namespace mooncake::rdma {

std::unique_ptr<MessageEngine> MessageEngine::open(std::shared_ptr<const Verbs> verbs, const DeviceOptions &device,
                                                   const StreamOptions &streams, std::function<void()> ring,
                                                   std::string &problem) {
  std::unique_ptr<Device> opened = Device::open(std::move(verbs), device, problem);
  if (opened == nullptr) return nullptr;
  std::unique_ptr<MessageEngine> engine(new MessageEngine(std::move(opened), streams, std::move(ring)));
  return engine->thread_.start(problem) ? std::move(engine) : nullptr;
}

MessageEngine::MessageEngine(std::unique_ptr<Device> device, const StreamOptions &streams, std::function<void()> ring)
    : device_(std::move(device)), options_(streams), outbox_(std::move(ring)), thread_(*device_, outbox_, keeper_) {}

MessageEngine::~MessageEngine() {
  // Those that wait to be connected are no longer fresh then.
  thread_.stop();
  connector_.finish();
  keeper_.finish();
  streams_.clear();
}

MessageEngine::Stream MessageEngine::find(uint32_t id) const {
  const auto found = streams_.find(id);
  return found == streams_.end() ? nullptr : found->second;
}

void MessageEngine::create(uint32_t id) {
  const auto stream = std::make_shared<MessageStream>(*device_, id, nextSerial_++, options_);
  streams_[id] = stream;
  keeper_.post([this, stream] {
    Event event{.kind = EventKind::created, .subject = stream->id};
    const PortState port = device_->queryPort();
    event.status = port.error;
    if (port.error != 0) event.text = "the port";
    else event.status = stream->create(event.text);
    if (event.status != 0) {
      stream->destroy();
      outbox_.add(std::move(event));
      return;
    }
    event.bytes = stream->describe(port).encode();
    thread_.add(stream, [this, event = std::move(event)] { outbox_.add(event); });
  });
}

void MessageEngine::connect(uint32_t id, const StreamInfo &peer, bool first) {
  const Stream stream = find(id);
  if (stream == nullptr) {
    outbox_.add(Event{.kind = EventKind::connected, .subject = id, .status = ENOENT});
    return;
  }
  connector_.post([this, stream, peer, first] {
    Event event{.kind = EventKind::connected, .subject = stream->id, .status = ECANCELED};
    if (stream->isFresh()) {
      const PortState port = device_->queryPort();
      event.status = port.error;
      if (port.error == 0) event.status = stream->connect(peer.connection, port, event.text);
    } else {
      event.text = "it has ended";
    }
    // The message thread must know before anybody writes.
    if (event.status == 0) thread_.connected(stream, peer, first);
    if (event.status != 0 || !first) outbox_.add(std::move(event));
  });
}

void MessageEngine::close(uint32_t id) {
  if (const Stream stream = find(id); stream != nullptr) thread_.close(stream);
}

} // namespace mooncake::rdma
