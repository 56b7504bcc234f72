#pragma once
#include <napi.h>

#include <memory>

#include "core/engine.h"

namespace mooncake::rdma {

// The JavaScript face of an Engine. It only translates; src/native.ts has the types.
class DeviceBinding final : public Napi::ObjectWrap<DeviceBinding> {
public:
  static Napi::Function define(Napi::Env env);
  explicit DeviceBinding(const Napi::CallbackInfo &info);
  ~DeviceBinding() override;

private:
  static void onEnvironmentEnd(void *self);
  // Blocks until nothing touches memory any more.
  void end();
  Engine &engineOf(Napi::Env env) const;

  Napi::Value describe(const Napi::CallbackInfo &info);
  Napi::Value registerMemory(const Napi::CallbackInfo &info);
  void deregister(const Napi::CallbackInfo &info);
  void createEndpoint(const Napi::CallbackInfo &info);
  Napi::Value connectEndpoint(const Napi::CallbackInfo &info);
  void closeEndpoint(const Napi::CallbackInfo &info);
  void forgetEndpoint(const Napi::CallbackInfo &info);
  void submit(const Napi::CallbackInfo &info);
  void cancel(const Napi::CallbackInfo &info);
  Napi::Value take(const Napi::CallbackInfo &info);
  Napi::Value stats(const Napi::CallbackInfo &info);
  void setReferenced(const Napi::CallbackInfo &info);
  void close(const Napi::CallbackInfo &info);

  std::unique_ptr<Engine> engine_;
  napi_threadsafe_function ring_ = nullptr;
};

} // namespace mooncake::rdma
