/* Stands for another package's addon: it knows a Region by the C header alone, and uses it on a thread of its own. */
#include <node_api.h>

#include <chrono>
#include <cstring>
#include <thread>

#include "../region_abi.h"

namespace {

constexpr napi_type_tag kRegionTag{MOONCAKE_REGION_TAG_LOWER, MOONCAKE_REGION_TAG_UPPER};

mooncake_region* RegionOf(napi_env env, napi_value handle) {
  bool is_region = false;
  void* data = nullptr;
  if (napi_check_object_type_tag(env, handle, &kRegionTag, &is_region) != napi_ok || !is_region) return nullptr;
  napi_get_value_external(env, handle, &data);
  return static_cast<mooncake_region*>(data);
}

/* (handle, holdMs, done: Uint8Array) => void. Writes to the whole Region until `holdMs` have passed; then sets done[0]
 * to 1 and releases. `done` must be memory that stays: a SharedArrayBuffer of the parent. */
napi_value HoldFor(napi_env env, napi_callback_info info) {
  napi_value args[3];
  size_t arg_count = 3;
  napi_get_cb_info(env, info, &arg_count, args, nullptr, nullptr);
  mooncake_region* region = RegionOf(env, args[0]);
  int64_t hold_ms = 0;
  void* done = nullptr;
  napi_get_value_int64(env, args[1], &hold_ms);
  napi_get_typedarray_info(env, args[2], nullptr, nullptr, &done, nullptr, nullptr);
  if (region == nullptr || done == nullptr) {
    napi_throw_type_error(env, nullptr, "not a Region, or no flag");
    return nullptr;
  }
  uint8_t* base = region->base;
  const uint64_t length_bytes = region->length_bytes;
  region->retain(region);
  std::thread([=] {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(hold_ms);
    while (std::chrono::steady_clock::now() < end) {
      std::memset(base, 0x5a, length_bytes);
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    std::memset(base, 0x5a, length_bytes);
    __atomic_store_n(static_cast<uint8_t*>(done), 1, __ATOMIC_RELEASE);
    region->release(region);
  }).detach();
  return nullptr;
}

}  // namespace

NAPI_MODULE_INIT() {
  napi_value hold_for = nullptr;
  napi_create_function(env, "holdFor", NAPI_AUTO_LENGTH, HoldFor, nullptr, &hold_for);
  napi_set_named_property(env, exports, "holdFor", hold_for);
  return exports;
}
