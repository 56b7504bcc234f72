#include <napi.h>

#include "../core/crc32c.h"
#include "instance.h"
#include "pool_binding.h"
#include "region_binding.h"

namespace {

/* Compared with the number in src/native.ts: JavaScript and binary of one package belong together. */
constexpr int kBindingVersion = 5;

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  mooncake::Instance::Open(env);
  mooncake::DefineRegionFunctions(env, exports);
  exports.Set("CopyPool", mooncake::PoolBinding::Define(env));
  exports.Set("bindingVersion", kBindingVersion);
  exports.Set("crc32cImplementation", mooncake::Crc32cImplementation());
  return exports;
}

}  // namespace

NODE_API_MODULE(mooncake_memory, Init)
