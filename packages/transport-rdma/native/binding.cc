#include <napi.h>

#include "core/device.h"
#include "device_binding.h"
#include "message_binding.h"
#include "region_handle.h"
#include "table_binding.h"

namespace {

using namespace mooncake::rdma;

// Raised with every change of what src/native.ts and this addon say to each other.
constexpr int kAbi = 2;

// { problem, errno, devices }: `problem` is set where the library is missing, `errno` where the kernel has no RDMA.
Napi::Value probe(const Napi::CallbackInfo &info) {
  const Napi::Env env = info.Env();
  auto result = Napi::Object::New(env);
  auto names = Napi::Array::New(env);
  std::string problem;
  const std::shared_ptr<const Verbs> verbs = Verbs::load(problem);
  Found found;
  if (verbs != nullptr) found = findDevices(*verbs);
  for (uint32_t i = 0; i < found.names.size(); i++) names.Set(i, found.names[i]);
  result.Set("problem", problem);
  result.Set("errno", found.error);
  result.Set("devices", names);
  return result;
}

// Which of these would be chosen: [[index, gid bytes, is RoCE v2], …]. For tests: no machine has all the tables.
Napi::Value pickGid(const Napi::CallbackInfo &info) {
  std::vector<GidEntry> entries;
  const auto list = info[0].As<Napi::Array>();
  for (uint32_t i = 0; i < list.Length(); i++) {
    const auto row = list.Get(i).As<Napi::Array>();
    GidEntry &entry = entries.emplace_back();
    entry.index = row.Get(0u).As<Napi::Number>().Int32Value();
    const auto bytes = row.Get(1u).As<Napi::Uint8Array>();
    std::copy_n(bytes.Data(), std::min<size_t>(bytes.ByteLength(), entry.gid.size()), entry.gid.begin());
    entry.roceV2 = row.Get(2u).ToBoolean();
  }
  return Napi::Number::New(info.Env(), chooseGid(entries));
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("abi", kAbi);
  exports.Set("probe", Napi::Function::New<probe>(env));
  exports.Set("chooseGid", Napi::Function::New<pickGid>(env));
  exports.Set("isOwned", Napi::Function::New<isOwned>(env));
  exports.Set("WindowTable", TableBinding::define(env));
  exports.Set("Device", DeviceBinding::define(env));
  exports.Set("MessageDevice", MessageBinding::define(env));
  return exports;
}

} // namespace

NODE_API_MODULE(transport_rdma, init)
