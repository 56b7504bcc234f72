#pragma once
#include <napi.h>

#include <memory>

#include "../core/copy_pool.h"
#include "instance.h"

namespace mooncake {

/* `new CopyPool(threads, inlineBytesMax, inflightOpsMax)` of JavaScript. */
class PoolBinding final : public Napi::ObjectWrap<PoolBinding> {
 public:
  static Napi::Function Define(Napi::Env env);
  explicit PoolBinding(const Napi::CallbackInfo& info);
  ~PoolBinding() override;

  /* Settles every batch that has ended. */
  void Settle(napi_env env);

  /* The environment is ending: nobody waits for the promises any more, but the threads must be at rest. */
  void Abandon() { pool_->Stop(); }

 private:
  Napi::Value Copy(const Napi::CallbackInfo& info);
  Napi::Value Checksum(const Napi::CallbackInfo& info);
  Napi::Value ChecksumNow(const Napi::CallbackInfo& info);
  void Gather(const Napi::CallbackInfo& info);
  void Scatter(const Napi::CallbackInfo& info);
  void Stop(const Napi::CallbackInfo& info);

  Napi::Value Post(Napi::Env env, std::shared_ptr<Batch> batch);

  const std::shared_ptr<Instance> instance_;
  std::unique_ptr<CopyPool> pool_;
  uint64_t inline_bytes_max_;
  uint64_t inflight_ops_max_;
  uint64_t inflight_ops_ = 0;
};

}  // namespace mooncake
