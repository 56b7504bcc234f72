#include "table_binding.h"

#include <cstring>

#include "region_handle.h"

namespace mooncake::rdma {

Napi::Function TableBinding::define(Napi::Env env) {
  return DefineClass(env, "WindowTable",
                     {
                         InstanceMethod<&TableBinding::add>("add"),
                         InstanceMethod<&TableBinding::publish>("publish"),
                         InstanceMethod<&TableBinding::shut>("shut"),
                         InstanceMethod<&TableBinding::remove>("remove"),
                         InstanceMethod<&TableBinding::inUse>("inUse"),
                     });
}

TableBinding::TableBinding(const Napi::CallbackInfo &info)
    : ObjectWrap(info), table_(std::make_shared<WindowTable>(info[0].As<Napi::Number>().Uint32Value())) {}

// (token, region handle, offset, byteLength, access): the index, -1 where the table is full, -2 for a bad range.
Napi::Value TableBinding::add(const Napi::CallbackInfo &info) {
  const Napi::Env env = info.Env();
  const auto bytes = info[0].As<Napi::Uint8Array>();
  const mooncake_region *region = regionOf(info[1]);
  const double offset = info[2].As<Napi::Number>();
  const double lengthBytes = info[3].As<Napi::Number>();
  if (region == nullptr || bytes.ByteLength() != sizeof(Token) || !contains(*region, offset, lengthBytes)) {
    return Napi::Number::New(env, -2);
  }
  Token token;
  std::memcpy(&token, bytes.Data(), sizeof token);
  const Window window{reinterpret_cast<uint64_t>(region->base) + static_cast<uint64_t>(offset),
                      static_cast<uint64_t>(lengthBytes), info[4].As<Napi::Number>().Uint32Value()};
  return Napi::Number::New(env, static_cast<double>(table_->add(token, window)));
}

void TableBinding::publish(const Napi::CallbackInfo &info) {
  const auto given = info[1].As<Napi::Uint32Array>();
  std::array<uint32_t, kDevicesMax> rkeys{};
  for (size_t i = 0; i < std::min(given.ElementLength(), kDevicesMax); i++) rkeys[i] = given[i];
  table_->publish(info[0].As<Napi::Number>().Uint32Value(), rkeys);
}

void TableBinding::shut(const Napi::CallbackInfo &info) { table_->shut(info[0].As<Napi::Number>().Uint32Value()); }

void TableBinding::remove(const Napi::CallbackInfo &info) {
  table_->remove(info[0].As<Napi::Number>().Uint32Value());
}

Napi::Value TableBinding::inUse(const Napi::CallbackInfo &info) {
  return Napi::Number::New(info.Env(), static_cast<double>(table_->inUse()));
}

} // namespace mooncake::rdma
