#pragma once
#include <napi.h>

#include "../region_abi.h"

namespace mooncake {

/* The Region behind a handle, of whatever package made it; throws ERR_INVALID_PARAMS for anything else. */
mooncake_region* RegionOf(Napi::Env env, Napi::Value handle);

/* A number of JavaScript as a count of bytes; throws ERR_SLICE_OUT_OF_BOUNDS unless it is a non-negative safe integer. */
uint64_t ByteCountOf(Napi::Env env, double value);

void RequireInside(Napi::Env env, const mooncake_region* region, uint64_t offset, uint64_t length_bytes);

/* Throws ERR_ACCESS_DENIED for memory that is mapped for reading only. */
void RequireWritable(Napi::Env env, const mooncake_region* region);

void DefineRegionFunctions(Napi::Env env, Napi::Object exports);

}  // namespace mooncake
