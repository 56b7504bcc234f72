#include <napi.h>

#include "core/uring.h"
#include "engine_binding.h"
#include "file_binding.h"
#include "socket_binding.h"

namespace {

// Raised with every change of what src/native.ts and this addon say to each other.
constexpr int kAbi = 4;

Napi::Value probe(const Napi::CallbackInfo &info) {
  const mooncake::io::UringProbe found = mooncake::io::probeUring();
  auto result = Napi::Object::New(info.Env());
  result.Set("call", found.call);
  result.Set("errno", found.error);
  return result;
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("abi", kAbi);
  exports.Set("probe", Napi::Function::New<probe>(env));
  exports.Set("Engine", mooncake::io::EngineBinding::define(env));
  mooncake::io::defineSocketCalls(env, exports);
  mooncake::io::defineFileCalls(env, exports);
  return exports;
}

} // namespace

NODE_API_MODULE(io_uring, init)
