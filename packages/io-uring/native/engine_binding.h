#pragma once
#include <napi.h>
#include <uv.h>

#include <memory>

#include "core/engine.h"

namespace mooncake::io {

class EngineBinding;

// The part of an engine that lives until libuv has let go of the doorbell: longer than the JavaScript object,
// and, at the end of the environment, as long as its asynchronous cleanup hook.
struct EngineHost {
  uv_poll_t poll{};
  napi_async_cleanup_hook_handle hook = nullptr;
  // Null once the JavaScript object was closed or collected.
  EngineBinding *binding = nullptr;
  Engine engine;

  // Cancels and waits for everything, then deletes itself from the event loop. Blocks.
  void close();
};

// The JavaScript face of an Engine. It only translates; src/native.ts has the types.
class EngineBinding final : public Napi::ObjectWrap<EngineBinding> {
public:
  static Napi::Function define(Napi::Env env);
  explicit EngineBinding(const Napi::CallbackInfo &info);
  ~EngineBinding() override;

private:
  friend struct EngineHost;

  static void onDoorbell(uv_poll_t *poll, int status, int events);
  static void onEnvironmentEnd(napi_async_cleanup_hook_handle handle, void *host);
  void start(Napi::Env env, const EngineOptions &options);
  bool deliver(Napi::Env env);
  // The loop, and the collector, wait for operations in flight.
  void updateBusy();
  void updateLoopRef();
  Napi::Value prepared(Napi::Env env, int64_t index);

  void setStaging(const Napi::CallbackInfo &info);
  Napi::Value prepare(const Napi::CallbackInfo &info);
  Napi::Value prepareConnect(const Napi::CallbackInfo &info);
  void submit(const Napi::CallbackInfo &info);
  void cancel(const Napi::CallbackInfo &info);
  void cancelAll(const Napi::CallbackInfo &info);
  Napi::Value drain(const Napi::CallbackInfo &info);
  Napi::Value attach(const Napi::CallbackInfo &info);
  Napi::Value detach(const Napi::CallbackInfo &info);
  Napi::Value stats(const Napi::CallbackInfo &info);
  void setReferenced(const Napi::CallbackInfo &info);
  void close(const Napi::CallbackInfo &info);

  EngineHost *host_ = nullptr;
  Engine *engine_ = nullptr;
  // Strong while operations are in flight.
  Napi::FunctionReference onReady_;
  std::unique_ptr<Napi::AsyncContext> context_;
  Napi::Reference<Napi::Float64Array> completionsReference_;
  Napi::Reference<Napi::Float64Array> stagingReference_;
  double *completions_ = nullptr;
  size_t completionsMax_ = 0;
  const double *staging_ = nullptr;
  size_t stagingLength_ = 0;
  bool busy_ = false;
  bool referenced_ = true;
};

} // namespace mooncake::io
