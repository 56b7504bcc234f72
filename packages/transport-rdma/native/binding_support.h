#pragma once
#include <napi.h>

#include "core/device.h"
#include "core/outbox.h"

namespace mooncake::rdma {

inline uint32_t asUint32(const Napi::Value &value) { return value.As<Napi::Number>().Uint32Value(); }

// Of src/native.ts.
DeviceOptions optionsOf(const Napi::Object &given);

// Calls `callback` on the JavaScript thread after every ring. The event loop does not wait for it.
napi_threadsafe_function createRing(Napi::Env env, const Napi::Value &callback);

Napi::Value describePort(Napi::Env env, const Device &device);
Napi::Value eventsOf(Napi::Env env, const std::vector<Event> &events);

} // namespace mooncake::rdma
