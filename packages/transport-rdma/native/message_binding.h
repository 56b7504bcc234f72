#pragma once
#include <napi.h>

#include <memory>

#include "core/message_engine.h"

namespace mooncake::rdma {

// The JavaScript face of a MessageEngine. It only translates; src/native.ts has the types.
class MessageBinding final : public Napi::ObjectWrap<MessageBinding> {
public:
  static Napi::Function define(Napi::Env env);
  explicit MessageBinding(const Napi::CallbackInfo &info);
  ~MessageBinding() override;

private:
  static void onEnvironmentEnd(void *self);
  // Blocks until nothing touches memory any more.
  void end();
  MessageEngine &engineOf(Napi::Env env) const;
  MessageEngine::Stream streamOf(const Napi::Value &id) const;

  Napi::Value describe(const Napi::CallbackInfo &info);
  void create(const Napi::CallbackInfo &info);
  Napi::Value connect(const Napi::CallbackInfo &info);
  Napi::Value write(const Napi::CallbackInfo &info);
  Napi::Value readableBytes(const Napi::CallbackInfo &info);
  Napi::Value read(const Napi::CallbackInfo &info);
  void finish(const Napi::CallbackInfo &info);
  Napi::Value ended(const Napi::CallbackInfo &info);
  Napi::Value finished(const Napi::CallbackInfo &info);
  void closeStream(const Napi::CallbackInfo &info);
  void forget(const Napi::CallbackInfo &info);
  Napi::Value take(const Napi::CallbackInfo &info);
  Napi::Value stats(const Napi::CallbackInfo &info);
  void setReferenced(const Napi::CallbackInfo &info);
  void close(const Napi::CallbackInfo &info);

  std::unique_ptr<MessageEngine> engine_;
  napi_threadsafe_function ring_ = nullptr;
};

} // namespace mooncake::rdma
