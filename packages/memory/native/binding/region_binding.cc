#include "region_binding.h"

#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "../core/crc32c.h"
#include "../core/mapping.h"
#include "instance.h"
#include "prefault_binding.h"

namespace mooncake {
namespace {

constexpr napi_type_tag kRegionTag{MOONCAKE_REGION_TAG_LOWER, MOONCAKE_REGION_TAG_UPPER};

using RegionHandle = Napi::External<mooncake_region>;

/* Takes over the owner's use of `region`. */
Napi::Value HandleOf(Napi::Env env, Region* region) {
  const auto drop = [](Napi::Env, mooncake_region* dropped) { static_cast<Region*>(dropped)->Drop(); };
  RegionHandle handle;
  try {
    handle = RegionHandle::New(env, region, drop);
  } catch (...) {
    region->Drop();
    throw;
  }
  handle.TypeTag(&kRegionTag);
  return handle;
}

/* Only for handles that this package made: the TypeScript classes call it with their own. */
Region* OwnRegion(const Napi::CallbackInfo& info) {
  return static_cast<Region*>(RegionOf(info.Env(), info[0]));
}

HugePages HugePagesOf(const std::string& name) {
  if (name == "off") return HugePages::kOff;
  if (name == "transparent") return HugePages::kTransparent;
  if (name == "2MiB") return HugePages::k2MiB;
  if (name == "1GiB") return HugePages::k1GiB;
  return HugePages::kDefault;
}

/* Runs `make`, and gives what the system refused a code. */
template <typename Make>
Napi::Value MakeMapped(Napi::Env env, uint64_t length_bytes, Make make) {
  try {
    return HandleOf(env, Region::OfMapping(make(), length_bytes, Instance::Of(env)->stats()));
  } catch (const std::system_error& error) {
    Throw(env, "ERR_OUT_OF_MEMORY", std::string("No memory for the region: ") + error.what());
  } catch (const std::invalid_argument& error) {
    Throw(env, "ERR_INVALID_PARAMS", error.what());
  }
}

/* (byteLength, hugePages, numaNode, label, warnings: string[]) => handle; appends to `warnings`. */
Napi::Value CreateRegion(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  MapOptions options;
  options.length_bytes = ByteCountOf(env, info[0].As<Napi::Number>().DoubleValue());
  options.huge_pages = HugePagesOf(info[1].As<Napi::String>().Utf8Value());
  options.numa_node = info[2].As<Napi::Number>().Int32Value();
  options.label = info[3].As<Napi::String>().Utf8Value();
  std::vector<std::string> warnings;
  const Napi::Value handle =
      MakeMapped(env, options.length_bytes, [&] { return Mapping::Create(options, warnings); });
  auto list = info[4].As<Napi::Array>();
  for (const std::string& warning : warnings) list.Set(list.Length(), Napi::String::New(env, warning));
  return handle;
}

/* (fd, byteLength) => handle */
Napi::Value MapRegion(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const int fd = info[0].As<Napi::Number>().Int32Value();
  const uint64_t length_bytes = ByteCountOf(env, info[1].As<Napi::Number>().DoubleValue());
  return MakeMapped(env, length_bytes, [&] { return Mapping::FromFd(fd, length_bytes); });
}

/* (bytes: Uint8Array) => handle */
Napi::Value WrapBuffer(const Napi::CallbackInfo& info) {
  auto bytes = info[0].As<Napi::Uint8Array>();
  return HandleOf(info.Env(), Instance::Of(info.Env())->WrapBytes(bytes, bytes.Data(), bytes.ByteLength()));
}

/* (handle) => void */
void CloseRegion(const Napi::CallbackInfo& info) { OwnRegion(info)->Close(); }

/* (handle) => number; -1 where there is none. */
Napi::Value RegionFd(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), OwnRegion(info)->fd); }

/* (handle, offset, byteLength > 0) => ArrayBuffer, which retains the Region until it is collected. */
Napi::Value ViewRegion(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  mooncake_region* region = RegionOf(env, info[0]);
  const uint64_t offset = ByteCountOf(env, info[1].As<Napi::Number>().DoubleValue());
  const uint64_t length_bytes = ByteCountOf(env, info[2].As<Napi::Number>().DoubleValue());
  RequireInside(env, region, offset, length_bytes);
  const auto release = [](Napi::Env, void*, mooncake_region* viewed) { viewed->release(viewed); };
  region->retain(region);
  try {
    return Napi::ArrayBuffer::New(env, region->base + offset, length_bytes, release, region);
  } catch (...) {
    region->release(region);
    throw;
  }
}

/* (ArrayBuffer of viewRegion) => void. Makes it empty; the Region is released when nothing else uses the buffer. */
void DetachView(const Napi::CallbackInfo& info) { info[0].As<Napi::ArrayBuffer>().Detach(); }

/* (bytes: Uint8Array, seed) => number */
Napi::Value Checksum(const Napi::CallbackInfo& info) {
  auto bytes = info[0].As<Napi::Uint8Array>();
  const uint32_t seed = info[1].As<Napi::Number>().Uint32Value();
  return Napi::Number::New(info.Env(), Crc32c(seed, bytes.Data(), bytes.ByteLength()));
}

/* () => [mapped regions, mapped bytes, wrapped regions] */
Napi::Value Stats(const Napi::CallbackInfo& info) {
  const auto stats = Instance::Of(info.Env())->stats();
  auto list = Napi::Array::New(info.Env(), 3);
  list.Set(0u, static_cast<double>(stats->mapped_regions));
  list.Set(1u, static_cast<double>(stats->mapped_bytes));
  list.Set(2u, static_cast<double>(stats->wrapped_regions));
  return list;
}

}  // namespace

mooncake_region* RegionOf(Napi::Env env, Napi::Value handle) {
  if (!handle.IsExternal() || !handle.As<RegionHandle>().CheckTypeTag(&kRegionTag)) {
    Throw(env, "ERR_INVALID_PARAMS", "The handle is not that of a Region");
  }
  mooncake_region* region = handle.As<RegionHandle>().Data();
  if (region->abi_version != MOONCAKE_REGION_ABI_VERSION) {
    Throw(env, "ERR_NATIVE_VERSION_MISMATCH", "The Region was made by a package with another version of its layout");
  }
  return region;
}

uint64_t ByteCountOf(Napi::Env env, double value) {
  constexpr double kSafeIntegerMax = 9007199254740991.0;
  if (!(value >= 0 && value <= kSafeIntegerMax && value == std::floor(value))) {
    Throw(env, "ERR_SLICE_OUT_OF_BOUNDS", "An offset or a length is not a non-negative safe integer");
  }
  return static_cast<uint64_t>(value);
}

void RequireInside(Napi::Env env, const mooncake_region* region, uint64_t offset, uint64_t length_bytes) {
  if (offset <= region->length_bytes && length_bytes <= region->length_bytes - offset) return;
  Throw(env, "ERR_SLICE_OUT_OF_BOUNDS",
        std::to_string(length_bytes) + " bytes at " + std::to_string(offset) + " lie outside of a region of " +
            std::to_string(region->length_bytes));
}

void RequireWritable(Napi::Env env, const mooncake_region* region) {
  const bool has_flags = region->struct_bytes >= offsetof(mooncake_region, flags) + sizeof(region->flags);
  if (!has_flags || (region->flags & MOONCAKE_REGION_READ_ONLY) == 0) return;
  Throw(env, "ERR_ACCESS_DENIED", "The target of a copy lies in memory of another process, which is for reading only");
}

void DefineRegionFunctions(Napi::Env env, Napi::Object exports) {
  exports.Set("createRegion", Napi::Function::New(env, CreateRegion));
  exports.Set("mapRegion", Napi::Function::New(env, MapRegion));
  exports.Set("wrapBuffer", Napi::Function::New(env, WrapBuffer));
  exports.Set("closeRegion", Napi::Function::New(env, CloseRegion));
  exports.Set("regionFd", Napi::Function::New(env, RegionFd));
  exports.Set("prefaultRegion", Napi::Function::New(env, PrefaultRegion));
  exports.Set("viewRegion", Napi::Function::New(env, ViewRegion));
  exports.Set("detachView", Napi::Function::New(env, DetachView));
  exports.Set("crc32c", Napi::Function::New(env, Checksum));
  exports.Set("stats", Napi::Function::New(env, Stats));
}

}  // namespace mooncake
