#include "message_binding.h"

#include <algorithm>

#include "binding_support.h"

namespace mooncake::rdma {

Napi::Function MessageBinding::define(Napi::Env env) {
  return DefineClass(env, "MessageDevice",
                     {
                         InstanceMethod<&MessageBinding::describe>("describe"),
                         InstanceMethod<&MessageBinding::create>("create"),
                         InstanceMethod<&MessageBinding::connect>("connect"),
                         InstanceMethod<&MessageBinding::write>("write"),
                         InstanceMethod<&MessageBinding::readableBytes>("readableBytes"),
                         InstanceMethod<&MessageBinding::read>("read"),
                         InstanceMethod<&MessageBinding::finish>("finish"),
                         InstanceMethod<&MessageBinding::ended>("ended"),
                         InstanceMethod<&MessageBinding::finished>("finished"),
                         InstanceMethod<&MessageBinding::closeStream>("closeStream"),
                         InstanceMethod<&MessageBinding::forget>("forget"),
                         InstanceMethod<&MessageBinding::take>("take"),
                         InstanceMethod<&MessageBinding::stats>("stats"),
                         InstanceMethod<&MessageBinding::setReferenced>("setReferenced"),
                         InstanceMethod<&MessageBinding::close>("close"),
                     });
}

// new MessageDevice(device options, stream options, onNews). Throws an Error that says what the system refused.
MessageBinding::MessageBinding(const Napi::CallbackInfo &info) : ObjectWrap(info) {
  const Napi::Env env = info.Env();
  std::string problem;
  std::shared_ptr<const Verbs> verbs = Verbs::load(problem);
  if (verbs == nullptr) throw Napi::Error::New(env, problem);
  const auto given = info[1].As<Napi::Object>();
  const StreamOptions streams{.slots = asUint32(given.Get("slots")),
                              .slotBytes = asUint32(given.Get("slotBytes")),
                              .sendBytes = asUint32(given.Get("sendBytes"))};
  ring_ = createRing(env, info[2]);
  const auto ring = [this] { napi_call_threadsafe_function(ring_, nullptr, napi_tsfn_nonblocking); };
  engine_ = MessageEngine::open(std::move(verbs), optionsOf(info[0].As<Napi::Object>()), streams, ring, problem);
  if (engine_ == nullptr) {
    napi_release_threadsafe_function(ring_, napi_tsfn_release);
    throw Napi::Error::New(env, problem);
  }
  // Hooks run in reverse order: this one before the function above goes.
  napi_add_env_cleanup_hook(env, onEnvironmentEnd, this);
}

MessageBinding::~MessageBinding() { end(); }

// The end of the process or of a worker: nothing may touch memory after this.
void MessageBinding::onEnvironmentEnd(void *self) { static_cast<MessageBinding *>(self)->end(); }

void MessageBinding::end() {
  if (engine_ == nullptr) return;
  engine_.reset();
  napi_remove_env_cleanup_hook(Env(), onEnvironmentEnd, this);
  napi_release_threadsafe_function(ring_, napi_tsfn_release);
  ring_ = nullptr;
}

// Throws after `close`: a mistake of the caller.
MessageEngine &MessageBinding::engineOf(Napi::Env env) const {
  if (engine_ == nullptr) throw Napi::Error::New(env, "The device was closed");
  return *engine_;
}

// Throws for one that is gone: a mistake of the caller.
MessageEngine::Stream MessageBinding::streamOf(const Napi::Value &id) const {
  MessageEngine::Stream stream = engineOf(id.Env()).find(asUint32(id));
  if (stream == nullptr) throw Napi::Error::New(id.Env(), "There is no such stream");
  return stream;
}

Napi::Value MessageBinding::describe(const Napi::CallbackInfo &info) {
  return describePort(info.Env(), engineOf(info.Env()).device());
}

void MessageBinding::create(const Napi::CallbackInfo &info) { engineOf(info.Env()).create(asUint32(info[0])); }

// (id, what the peer said, whether this end speaks first): false for something else.
Napi::Value MessageBinding::connect(const Napi::CallbackInfo &info) {
  MessageEngine &engine = engineOf(info.Env());
  const auto bytes = info[1].As<Napi::Uint8Array>();
  const std::optional<StreamInfo> peer = StreamInfo::decode(bytes.Data(), bytes.ByteLength());
  if (peer.has_value()) engine.connect(asUint32(info[0]), *peer, info[2].ToBoolean());
  return Napi::Boolean::New(info.Env(), peer.has_value());
}

// (id, bytes, offset): how many bytes were taken.
Napi::Value MessageBinding::write(const Napi::CallbackInfo &info) {
  const MessageEngine::Stream stream = streamOf(info[0]);
  const auto bytes = info[1].As<Napi::Uint8Array>();
  const size_t offset = std::min<size_t>(asUint32(info[2]), bytes.ByteLength());
  const uint64_t taken = stream->write(bytes.Data() + offset, bytes.ByteLength() - offset);
  if (taken > 0) engine_->poke(stream);
  return Napi::Number::New(info.Env(), static_cast<double>(taken));
}

Napi::Value MessageBinding::readableBytes(const Napi::CallbackInfo &info) {
  return Napi::Number::New(info.Env(), static_cast<double>(streamOf(info[0])->readableBytes()));
}

// (id, where to): how many bytes were read.
Napi::Value MessageBinding::read(const Napi::CallbackInfo &info) {
  const MessageEngine::Stream stream = streamOf(info[0]);
  auto bytes = info[1].As<Napi::Uint8Array>();
  bool poke = false;
  const uint64_t taken = stream->read(bytes.Data(), bytes.ByteLength(), poke);
  if (poke) engine_->poke(stream);
  return Napi::Number::New(info.Env(), static_cast<double>(taken));
}

void MessageBinding::finish(const Napi::CallbackInfo &info) {
  const MessageEngine::Stream stream = streamOf(info[0]);
  stream->finish();
  engine_->poke(stream);
}

Napi::Value MessageBinding::ended(const Napi::CallbackInfo &info) {
  return Napi::Boolean::New(info.Env(), streamOf(info[0])->ended());
}

Napi::Value MessageBinding::finished(const Napi::CallbackInfo &info) {
  return Napi::Boolean::New(info.Env(), streamOf(info[0])->finished());
}

// What ends a stream may be called late: it has ended with the device.
void MessageBinding::closeStream(const Napi::CallbackInfo &info) {
  if (engine_ != nullptr) engine_->close(asUint32(info[0]));
}

void MessageBinding::forget(const Napi::CallbackInfo &info) {
  if (engine_ != nullptr) engine_->forget(asUint32(info[0]));
}

// [ids of streams with something new, events]
Napi::Value MessageBinding::take(const Napi::CallbackInfo &info) {
  const Napi::Env env = info.Env();
  std::vector<Completion> news;
  std::vector<Event> events;
  if (engine_ != nullptr) engine_->outbox().take(news, events);
  auto ids = Napi::Float64Array::New(env, news.size());
  for (size_t i = 0; i < news.size(); i++) ids[i] = news[i].operation;
  auto result = Napi::Array::New(env, 2);
  result.Set(0u, ids);
  result.Set(1u, eventsOf(env, events));
  return result;
}

Napi::Value MessageBinding::stats(const Napi::CallbackInfo &info) {
  const MessageStats stats = engine_ == nullptr ? MessageStats{} : engine_->stats();
  auto result = Napi::Object::New(info.Env());
  result.Set("memoryRegions", stats.memoryRegions);
  result.Set("queuePairs", stats.queuePairs);
  result.Set("streams", static_cast<double>(stats.streams));
  return result;
}

// Whether the event loop waits for what this device has to say.
void MessageBinding::setReferenced(const Napi::CallbackInfo &info) {
  if (ring_ == nullptr) return;
  if (info[0].ToBoolean()) napi_ref_threadsafe_function(info.Env(), ring_);
  else napi_unref_threadsafe_function(info.Env(), ring_);
}

void MessageBinding::close(const Napi::CallbackInfo &) { end(); }

} // namespace mooncake::rdma
