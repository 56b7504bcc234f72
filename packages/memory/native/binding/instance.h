#pragma once
#include <napi.h>
#include <uv.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "../core/region.h"
#include "prefault_binding.h"

namespace mooncake {

class PoolBinding;

/* What one addon instance (one JavaScript thread) shares with the things that it made, which may outlive it.
 *
 * Worker threads and releases of wrapped bytes end anywhere; what follows belongs on the JavaScript thread. They ring
 * (one uv_async_t, so that many rings become one wake-up), and OnRing settles what has ended and drops the references. */
class Instance : public std::enable_shared_from_this<Instance> {
 public:
  /* Opens the instance of `env`, and has it closed when the environment ends. */
  static std::shared_ptr<Instance> Open(Napi::Env env);
  static std::shared_ptr<Instance> Of(Napi::Env env);

  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  const std::shared_ptr<RegionStats>& stats() const { return stats_; }

  /* A Region over bytes of JavaScript: they stay reachable until nobody uses the Region any more. */
  Region* WrapBytes(napi_value bytes, uint8_t* base, uint64_t length_bytes);

  void AddPool(PoolBinding* pool) { pools_.insert(pool); }
  void RemovePool(PoolBinding* pool) { pools_.erase(pool); }
  PrefaultBinding& prefaults() { return prefaults_; }

  /* Keeps the event loop alive while something is in flight. */
  void HoldLoop();
  void LetLoopGo();

  /* Any thread. */
  void Ring();

 private:
  class WrappedBytes;
  struct Wrapped {
    Region* region;
    napi_ref bytes;
  };

  explicit Instance(Napi::Env env) : env_(env) {}
  void OnRing();
  void SettleAll();
  void ForgetWrapped(uint64_t id);
  void DropForgotten();
  void BeginTeardown(napi_async_cleanup_hook_handle hook);
  void ContinueTeardown();

  const napi_env env_;
  const std::shared_ptr<RegionStats> stats_ = std::make_shared<RegionStats>();
  std::set<PoolBinding*> pools_;
  PrefaultBinding prefaults_{*this};
  std::map<uint64_t, Wrapped> wrapped_;
  uint64_t next_wrapped_id_ = 0;
  uint64_t loop_holders_ = 0;
  napi_async_cleanup_hook_handle teardown_ = nullptr;
  std::shared_ptr<Instance>* teardown_share_ = nullptr;
  uv_async_t bell_;
  uv_timer_t patience_;
  int handles_open_ = 0;

  std::mutex mutex_; /* guards what follows */
  bool bell_open_ = false;
  std::vector<uint64_t> forgotten_;
};

/* Throws a JavaScript Error that carries one of the codes of @mooncake-ts/core. */
[[noreturn]] void Throw(Napi::Env env, const char* code, const std::string& message);

}  // namespace mooncake
