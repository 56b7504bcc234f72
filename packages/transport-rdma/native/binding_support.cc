#include "binding_support.h"

namespace mooncake::rdma {

namespace {

// On the JavaScript thread, after a ring.
void callBack(napi_env env, napi_value callback, void *, void *) {
  if (env == nullptr || callback == nullptr) return; // The environment is ending.
  napi_value global;
  if (napi_get_global(env, &global) != napi_ok) return;
  napi_value result;
  if (napi_call_function(env, global, callback, 0, nullptr, &result) != napi_pending_exception) return;
  napi_value error;
  if (napi_get_and_clear_last_exception(env, &error) == napi_ok) napi_fatal_exception(env, error);
}

} // namespace

DeviceOptions optionsOf(const Napi::Object &given) {
  const auto number = [&given](const char *name) { return asUint32(given.Get(name)); };
  return {
      .name = given.Get("name").As<Napi::String>(),
      .port = static_cast<uint8_t>(number("port")),
      .number = number("number"),
      .gidIndex = given.Get("gidIndex").As<Napi::Number>().Int32Value(),
      .mtuMax = static_cast<uint8_t>(number("mtu")),
      .queueDepth = number("queueDepth"),
      .completionsMax = number("completionsMax"),
      .inlineBytesMax = number("inlineBytesMax"),
      .sliceBytes = number("sliceBytes"),
      .ackTimeout = static_cast<uint8_t>(number("ackTimeout")),
      .packetRetries = static_cast<uint8_t>(number("packetRetries")),
      .serviceLevel = static_cast<uint8_t>(number("serviceLevel")),
      .trafficClass = static_cast<uint8_t>(number("trafficClass")),
      .pkeyIndex = static_cast<uint16_t>(number("pkeyIndex")),
      .relaxedOrdering = given.Get("relaxedOrdering").ToBoolean(),
      .spinNsMax = number("spinNsMax"),
  };
}

napi_threadsafe_function createRing(Napi::Env env, const Napi::Value &callback) {
  napi_threadsafe_function ring = nullptr;
  napi_value name = Napi::String::New(env, "mooncake-ts.rdma");
  const napi_status status = napi_create_threadsafe_function(env, callback, nullptr, name, 0, 1, nullptr, nullptr, nullptr,
                                                             callBack, &ring);
  if (status != napi_ok) throw Napi::Error::New(env);
  napi_unref_threadsafe_function(env, ring);
  return ring;
}

Napi::Value describePort(Napi::Env env, const Device &device) {
  const PortState port = device.queryPort();
  auto result = Napi::Object::New(env);
  result.Set("errno", port.error);
  result.Set("active", port.active);
  result.Set("ethernet", port.ethernet);
  result.Set("mtu", 128 << port.mtu);
  result.Set("gidIndex", port.gidIndex);
  result.Set("gid", Napi::Buffer<uint8_t>::Copy(env, port.gid.data(), port.gid.size()));
  result.Set("numaNode", device.numaNode());
  return result;
}

Napi::Value eventsOf(Napi::Env env, const std::vector<Event> &events) {
  auto list = Napi::Array::New(env, events.size());
  for (uint32_t i = 0; i < events.size(); i++) {
    const Event &event = events[i];
    auto object = Napi::Object::New(env);
    object.Set("kind", static_cast<uint32_t>(event.kind));
    object.Set("subject", event.subject);
    object.Set("status", event.status);
    object.Set("rkey", event.rkey);
    object.Set("numaNode", event.numaNode);
    object.Set("text", event.text);
    object.Set("bytes", Napi::Buffer<uint8_t>::Copy(env, event.bytes.data(), event.bytes.size()));
    list.Set(i, object);
  }
  return list;
}

} // namespace mooncake::rdma
