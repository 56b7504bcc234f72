#include "instance.h"

#include "pool_binding.h"

namespace mooncake {
namespace {

/* How long the end of an environment waits for other addons that still use its buffers. */
constexpr uint64_t kTeardownWaitMsMax = 10'000;

struct InstanceData {
  std::shared_ptr<Instance> instance;
};

}  // namespace

/* Held by the Region; destroyed by whoever releases it last, on any thread. */
class Instance::WrappedBytes final : public Backing {
 public:
  WrappedBytes(std::shared_ptr<Instance> instance, uint64_t id) : instance_(std::move(instance)), id_(id) {}
  ~WrappedBytes() override { instance_->ForgetWrapped(id_); }

 private:
  const std::shared_ptr<Instance> instance_;
  const uint64_t id_;
};

std::shared_ptr<Instance> Instance::Open(Napi::Env env) {
  std::shared_ptr<Instance> instance(new Instance(env));
  uv_loop_t* loop = nullptr;
  NAPI_THROW_IF_FAILED(env, napi_get_uv_event_loop(env, &loop), nullptr);
  const auto on_ring = [](uv_async_t* bell) { static_cast<Instance*>(bell->data)->OnRing(); };
  if (uv_async_init(loop, &instance->bell_, on_ring) != 0) {
    Throw(env, "ERR_INTERNAL", "uv_async_init failed");
  }
  uv_timer_init(loop, &instance->patience_);
  instance->handles_open_ = 2;
  instance->bell_.data = instance.get();
  instance->patience_.data = instance.get();
  uv_unref(reinterpret_cast<uv_handle_t*>(&instance->bell_));
  instance->bell_open_ = true;

  env.SetInstanceData<InstanceData>(new InstanceData{instance});
  /* The hook has a share of its own: libuv uses the handles until both are closed. */
  auto* share = new std::shared_ptr<Instance>(instance);
  napi_async_cleanup_hook_handle hook = nullptr;
  const auto on_teardown = [](napi_async_cleanup_hook_handle handle, void* data) {
    static_cast<std::shared_ptr<Instance>*>(data)->get()->BeginTeardown(handle);
  };
  NAPI_THROW_IF_FAILED(env, napi_add_async_cleanup_hook(env, on_teardown, share, &hook), nullptr);
  instance->teardown_share_ = share;
  return instance;
}

std::shared_ptr<Instance> Instance::Of(Napi::Env env) { return env.GetInstanceData<InstanceData>()->instance; }

Region* Instance::WrapBytes(napi_value bytes, uint8_t* base, uint64_t length_bytes) {
  napi_ref reference = nullptr;
  NAPI_THROW_IF_FAILED(env_, napi_create_reference(env_, bytes, 1, &reference), nullptr);
  const uint64_t id = next_wrapped_id_++;
  auto backing = std::make_unique<WrappedBytes>(shared_from_this(), id);
  Region* region = Region::OfBytes(base, length_bytes, std::move(backing), stats_);
  region->HoldShell(); /* for BeginTeardown: the handle may be collected before the last user has gone */
  wrapped_.emplace(id, Wrapped{region, reference});
  return region;
}

void Instance::HoldLoop() {
  if (loop_holders_++ == 0) uv_ref(reinterpret_cast<uv_handle_t*>(&bell_));
}

void Instance::LetLoopGo() {
  if (--loop_holders_ == 0) uv_unref(reinterpret_cast<uv_handle_t*>(&bell_));
}

void Instance::Ring() {
  const std::lock_guard lock(mutex_);
  if (bell_open_) uv_async_send(&bell_);
}

void Instance::ForgetWrapped(uint64_t id) {
  const std::lock_guard lock(mutex_);
  forgotten_.push_back(id);
  if (bell_open_) uv_async_send(&bell_);
}

void Instance::DropForgotten() {
  std::vector<uint64_t> forgotten;
  {
    const std::lock_guard lock(mutex_);
    forgotten.swap(forgotten_);
  }
  for (const uint64_t id : forgotten) {
    const auto found = wrapped_.find(id);
    napi_delete_reference(env_, found->second.bytes);
    found->second.region->DropShell();
    wrapped_.erase(found);
  }
}

void Instance::OnRing() {
  DropForgotten();
  if (teardown_ != nullptr) {
    ContinueTeardown();
    return;
  }
  if (!pools_.empty() || !prefaults_.idle()) SettleAll();
}

/* Everything that has ended, with one turn of the microtask queue. */
void Instance::SettleAll() {
  napi_handle_scope handles = nullptr;
  if (napi_open_handle_scope(env_, &handles) != napi_ok) return;
  napi_value name = nullptr;
  napi_async_context context = nullptr;
  napi_callback_scope scope = nullptr;
  napi_create_string_utf8(env_, "mooncake-memory", NAPI_AUTO_LENGTH, &name);
  if (napi_async_init(env_, nullptr, name, &context) == napi_ok) {
    if (napi_open_callback_scope(env_, nullptr, context, &scope) == napi_ok) {
      for (PoolBinding* pool : pools_) pool->Settle(env_);
      prefaults_.Settle(env_);
      napi_close_callback_scope(env_, scope);
    }
    napi_async_destroy(env_, context);
  }
  napi_close_handle_scope(env_, handles);
}

/* The environment is ending. Our threads stop here. Buffers that other addons still use keep it waiting: V8 would free
 * them under a device. Those addons stop in hooks of their own, which run while we wait. */
void Instance::BeginTeardown(napi_async_cleanup_hook_handle hook) {
  teardown_ = hook;
  for (PoolBinding* pool : pools_) pool->Abandon();
  prefaults_.Abandon();
  for (auto& [id, wrapped] : wrapped_) wrapped.region->Close();
  HoldLoop();
  const auto on_timeout = [](uv_timer_t*) {
    napi_fatal_error("mooncake-ts/memory", NAPI_AUTO_LENGTH,
                     "An addon still retains a wrapped buffer 10 s after its JavaScript thread ended", NAPI_AUTO_LENGTH);
  };
  uv_timer_start(&patience_, on_timeout, kTeardownWaitMsMax, 0);
  DropForgotten();
  ContinueTeardown();
}

void Instance::ContinueTeardown() {
  if (!wrapped_.empty()) return;
  {
    const std::lock_guard lock(mutex_);
    if (!bell_open_) return;
    bell_open_ = false;
  }
  const auto on_closed = [](uv_handle_t* handle) {
    auto* instance = static_cast<Instance*>(handle->data);
    if (--instance->handles_open_ > 0) return;
    const napi_async_cleanup_hook_handle hook = instance->teardown_;
    delete instance->teardown_share_;
    napi_remove_async_cleanup_hook(hook);
  };
  uv_close(reinterpret_cast<uv_handle_t*>(&bell_), on_closed);
  uv_close(reinterpret_cast<uv_handle_t*>(&patience_), on_closed);
}

void Throw(Napi::Env env, const char* code, const std::string& message) {
  Napi::Error error = Napi::Error::New(env, message);
  error.Set("code", Napi::String::New(env, code));
  throw error;
}

}  // namespace mooncake
