#pragma once
#include <napi.h>
#include <region_abi.h>

namespace mooncake::rdma {

// Null for anything that is not a Region of memory of this host.
inline mooncake_region *regionOf(const Napi::Value &handle) {
  constexpr napi_type_tag tag{MOONCAKE_REGION_TAG_LOWER, MOONCAKE_REGION_TAG_UPPER};
  bool tagged = false;
  if (napi_check_object_type_tag(handle.Env(), handle, &tag, &tagged) != napi_ok || !tagged) return nullptr;
  auto *region = handle.As<Napi::External<mooncake_region>>().Data();
  const bool known = region->abi_version == MOONCAKE_REGION_ABI_VERSION && region->memory_kind == MOONCAKE_MEMORY_HOST;
  return known ? region : nullptr;
}

// The range lies in the region, which its owner has not closed. JavaScript thread.
inline bool contains(const mooncake_region &region, double offset, double lengthBytes) {
  const auto whole = static_cast<double>(region.length_bytes);
  return offset >= 0 && lengthBytes >= 0 && offset + lengthBytes <= whole;
}

// Memory that the package made, which is registered whole and once; not bytes of a caller, of which only a part is.
inline Napi::Value isOwned(const Napi::CallbackInfo &info) {
  const mooncake_region *region = regionOf(info[0]);
  return Napi::Boolean::New(info.Env(), region != nullptr && region->fd >= 0);
}

} // namespace mooncake::rdma
