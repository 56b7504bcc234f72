#pragma once
#include <napi.h>

#include <memory>

#include "../core/prefault.h"

namespace mooncake {

class Instance;

/* The Prefaults in flight of one environment, and the promises that wait for them. JavaScript thread only. */
class PrefaultBinding {
 public:
  explicit PrefaultBinding(Instance& instance) : instance_(instance) {}

  /* A promise. The Region is retained until it has settled. */
  Napi::Value Start(Napi::Env env, mooncake_region* region);
  bool idle() const { return in_flight_ == 0; }
  void Settle(napi_env env);

  /* The environment is ending: nobody waits for the promises any more, but the threads must be at rest. */
  void Abandon() { prefaulter_.reset(); }

 private:
  Instance& instance_;
  /* Made for the first, gone after the last: no threads stand by. */
  std::unique_ptr<Prefaulter> prefaulter_;
  size_t in_flight_ = 0;
};

/* (handle) => Promise<undefined> */
Napi::Value PrefaultRegion(const Napi::CallbackInfo& info);

}  // namespace mooncake
