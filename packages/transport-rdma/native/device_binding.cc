#include "device_binding.h"

#include "binding_support.h"
#include "region_handle.h"
#include "table_binding.h"

namespace mooncake::rdma {

namespace {

// One operation of `submit`, as doubles. Shared with src/native.ts.
enum OrderField : size_t {
  kId,
  kEndpoint,
  kKind,
  kRegistration,
  kLocalOffset,
  kLengthBytes,
  kRemoteOffset,
  kWholeOffset,
  kWholeBytes,
  kSlot,
  kToken0,
  kOrderFields = kToken0 + 4,
};

uint64_t joined(double low, double high) { return static_cast<uint64_t>(low) | static_cast<uint64_t>(high) << 32; }

OperationOrder orderOf(const double *fields, std::shared_ptr<Registration> local) {
  OperationOrder order;
  order.endpoint = static_cast<uint32_t>(fields[kEndpoint]);
  order.slot = static_cast<uint32_t>(fields[kSlot]);
  order.token = {joined(fields[kToken0], fields[kToken0 + 1]), joined(fields[kToken0 + 2], fields[kToken0 + 3])};
  Operation &operation = order.operation;
  operation.id = fields[kId];
  operation.kind = static_cast<OperationKind>(static_cast<uint32_t>(fields[kKind]));
  operation.local = std::move(local);
  operation.localOffset = static_cast<uint64_t>(fields[kLocalOffset]);
  operation.lengthBytes = static_cast<uint64_t>(fields[kLengthBytes]);
  operation.remoteOffset = static_cast<uint64_t>(fields[kRemoteOffset]);
  operation.wholeOffset = static_cast<uint64_t>(fields[kWholeOffset]);
  operation.wholeBytes = static_cast<uint64_t>(fields[kWholeBytes]);
  return order;
}

} // namespace

Napi::Function DeviceBinding::define(Napi::Env env) {
  return DefineClass(env, "Device",
                     {
                         InstanceMethod<&DeviceBinding::describe>("describe"),
                         InstanceMethod<&DeviceBinding::registerMemory>("registerMemory"),
                         InstanceMethod<&DeviceBinding::deregister>("deregister"),
                         InstanceMethod<&DeviceBinding::createEndpoint>("createEndpoint"),
                         InstanceMethod<&DeviceBinding::connectEndpoint>("connectEndpoint"),
                         InstanceMethod<&DeviceBinding::closeEndpoint>("closeEndpoint"),
                         InstanceMethod<&DeviceBinding::forgetEndpoint>("forgetEndpoint"),
                         InstanceMethod<&DeviceBinding::submit>("submit"),
                         InstanceMethod<&DeviceBinding::cancel>("cancel"),
                         InstanceMethod<&DeviceBinding::take>("take"),
                         InstanceMethod<&DeviceBinding::stats>("stats"),
                         InstanceMethod<&DeviceBinding::setReferenced>("setReferenced"),
                         InstanceMethod<&DeviceBinding::close>("close"),
                     });
}

// new Device(options, table, onNews). Throws an Error that says what the system refused.
DeviceBinding::DeviceBinding(const Napi::CallbackInfo &info) : ObjectWrap(info) {
  const Napi::Env env = info.Env();
  std::string problem;
  std::shared_ptr<const Verbs> verbs = Verbs::load(problem);
  if (verbs == nullptr) throw Napi::Error::New(env, problem);
  const std::shared_ptr<WindowTable> table = TableBinding::Unwrap(info[1].As<Napi::Object>())->table();
  ring_ = createRing(env, info[2]);
  const auto ring = [this] { napi_call_threadsafe_function(ring_, nullptr, napi_tsfn_nonblocking); };
  engine_ = Engine::open(std::move(verbs), optionsOf(info[0].As<Napi::Object>()), table, ring, problem);
  if (engine_ == nullptr) {
    napi_release_threadsafe_function(ring_, napi_tsfn_release);
    throw Napi::Error::New(env, problem);
  }
  // Hooks run in reverse order: this one before the function above goes.
  napi_add_env_cleanup_hook(env, onEnvironmentEnd, this);
}

DeviceBinding::~DeviceBinding() { end(); }

// The end of the process or of a worker, with operations perhaps in flight: nothing may touch memory after this.
void DeviceBinding::onEnvironmentEnd(void *self) { static_cast<DeviceBinding *>(self)->end(); }

void DeviceBinding::end() {
  if (ring_ == nullptr) return;
  engine_.reset();
  napi_remove_env_cleanup_hook(Env(), onEnvironmentEnd, this);
  napi_release_threadsafe_function(ring_, napi_tsfn_release);
  ring_ = nullptr;
}

// Throws after `close`: a mistake of the caller.
Engine &DeviceBinding::engineOf(Napi::Env env) const {
  if (engine_ == nullptr) throw Napi::Error::New(env, "The device was closed");
  return *engine_;
}

Napi::Value DeviceBinding::describe(const Napi::CallbackInfo &info) {
  return describePort(info.Env(), engineOf(info.Env()).device());
}

// (id, region handle, offset, byteLength): false for a closed region or a range outside of it.
Napi::Value DeviceBinding::registerMemory(const Napi::CallbackInfo &info) {
  mooncake_region *region = regionOf(info[1]);
  const double offset = info[2].As<Napi::Number>();
  const double lengthBytes = info[3].As<Napi::Number>();
  const bool valid = region != nullptr && lengthBytes > 0 && contains(*region, offset, lengthBytes);
  if (valid) {
    Engine &engine = engineOf(info.Env());
    region->retain(region);
    engine.registerMemory(asUint32(info[0]), region, region->base + static_cast<uint64_t>(offset),
                          static_cast<uint64_t>(lengthBytes));
  }
  return Napi::Boolean::New(info.Env(), valid);
}

void DeviceBinding::deregister(const Napi::CallbackInfo &info) {
  engineOf(info.Env()).deregister(asUint32(info[0]));
}

void DeviceBinding::createEndpoint(const Napi::CallbackInfo &info) {
  engineOf(info.Env()).createEndpoint(asUint32(info[0]), asUint32(info[1]), asUint32(info[2]));
}

// (id, what the peer said): false for something else.
Napi::Value DeviceBinding::connectEndpoint(const Napi::CallbackInfo &info) {
  const auto bytes = info[1].As<Napi::Uint8Array>();
  const std::optional<ConnectionInfo> remote = ConnectionInfo::decode(bytes.Data(), bytes.ByteLength());
  if (remote.has_value()) engineOf(info.Env()).connectEndpoint(asUint32(info[0]), *remote);
  return Napi::Boolean::New(info.Env(), remote.has_value());
}

void DeviceBinding::closeEndpoint(const Napi::CallbackInfo &info) {
  engineOf(info.Env()).closeEndpoint(asUint32(info[0]));
}

void DeviceBinding::forgetEndpoint(const Napi::CallbackInfo &info) {
  engineOf(info.Env()).forgetEndpoint(asUint32(info[0]));
}

// (fields, count): what names no registration, or leaves it, is refused as a programming error.
void DeviceBinding::submit(const Napi::CallbackInfo &info) {
  const auto array = info[0].As<Napi::Float64Array>();
  const uint32_t count = asUint32(info[1]);
  if (array.ElementLength() < count * kOrderFields) throw Napi::Error::New(info.Env(), "Fewer fields than operations");
  Engine &engine = engineOf(info.Env());
  std::vector<OperationOrder> orders;
  orders.reserve(count);
  for (uint32_t i = 0; i < count; i++) {
    const double *fields = array.Data() + i * kOrderFields;
    std::shared_ptr<Registration> local = engine.registration(static_cast<uint32_t>(fields[kRegistration]));
    const bool inside = local != nullptr && fields[kLocalOffset] >= 0 && fields[kLengthBytes] > 0 &&
                        fields[kLocalOffset] + fields[kLengthBytes] <= static_cast<double>(local->lengthBytes());
    if (!inside) throw Napi::Error::New(info.Env(), "An operation outside of its registration");
    orders.push_back(orderOf(fields, std::move(local)));
  }
  engine.submit(std::move(orders));
}

void DeviceBinding::cancel(const Napi::CallbackInfo &info) {
  const auto ids = info[0].As<Napi::Float64Array>();
  engineOf(info.Env()).cancel({ids.Data(), ids.Data() + ids.ElementLength()});
}

// [completions as pairs of id and status, events]
Napi::Value DeviceBinding::take(const Napi::CallbackInfo &info) {
  const Napi::Env env = info.Env();
  auto result = Napi::Array::New(env, 2);
  std::vector<Completion> completions;
  std::vector<Event> events;
  if (engine_ != nullptr) engine_->outbox().take(completions, events);
  auto pairs = Napi::Float64Array::New(env, completions.size() * 2);
  for (size_t i = 0; i < completions.size(); i++) {
    pairs[i * 2] = completions[i].operation;
    pairs[i * 2 + 1] = completions[i].status;
  }
  result.Set(0u, pairs);
  result.Set(1u, eventsOf(env, events));
  return result;
}

Napi::Value DeviceBinding::stats(const Napi::CallbackInfo &info) {
  const EngineStats stats = engine_ == nullptr ? EngineStats{} : engine_->stats();
  auto result = Napi::Object::New(info.Env());
  result.Set("memoryRegions", stats.memoryRegions);
  result.Set("queuePairs", stats.queuePairs);
  result.Set("endpoints", static_cast<double>(stats.endpoints));
  result.Set("operations", static_cast<double>(stats.operations));
  result.Set("postedCalls", static_cast<double>(stats.postedCalls));
  result.Set("sleeps", static_cast<double>(stats.sleeps));
  return result;
}

// Whether the event loop waits for what this device has to say.
void DeviceBinding::setReferenced(const Napi::CallbackInfo &info) {
  if (ring_ == nullptr) return;
  if (info[0].ToBoolean()) napi_ref_threadsafe_function(info.Env(), ring_);
  else napi_unref_threadsafe_function(info.Env(), ring_);
}

void DeviceBinding::close(const Napi::CallbackInfo &) { end(); }

} // namespace mooncake::rdma
