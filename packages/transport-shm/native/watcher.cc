#include "watcher.h"

#include <unistd.h>

#include <utility>

namespace mooncake::shm {

void Watchers::Open(Napi::Env env) {
  auto watchers = std::make_shared<Watchers>();
  env.SetInstanceData<std::shared_ptr<Watchers>>(new std::shared_ptr<Watchers>(watchers));
  watchers->teardown_share_ = new std::shared_ptr<Watchers>(watchers);
  napi_async_cleanup_hook_handle hook = nullptr;
  const auto on_teardown = [](napi_async_cleanup_hook_handle handle, void* data) {
    static_cast<Watchers*>(data)->BeginTeardown(handle);
  };
  NAPI_THROW_IF_FAILED_VOID(env, napi_add_async_cleanup_hook(env, on_teardown, watchers.get(), &hook));
}

std::shared_ptr<Watchers> Watchers::Of(Napi::Env env) { return *env.GetInstanceData<std::shared_ptr<Watchers>>(); }

void Watchers::Add(Watcher* watcher) {
  open_.insert(watcher);
  handles_ += 1;
}

void Watchers::OnClosed() {
  handles_ -= 1;
  if (teardown_ != nullptr && handles_ == 0) FinishTeardown();
}

void Watchers::BeginTeardown(napi_async_cleanup_hook_handle hook) {
  teardown_ = hook;
  for (Watcher* watcher : std::exchange(open_, {})) watcher->Shut();
  if (handles_ == 0) FinishTeardown();
}

void Watchers::FinishTeardown() {
  napi_remove_async_cleanup_hook(teardown_);
  delete teardown_share_; /* The last use of `this`, perhaps. */
}

Napi::Function Watcher::Define(Napi::Env env) {
  return DefineClass(env, "Watcher",
                     {InstanceMethod<&Watcher::Watch>("watch"), InstanceMethod<&Watcher::Close>("close")});
}

/* (fd, onReady: (events) => void). Throws before it owns the descriptor. */
Watcher::Watcher(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  const Napi::Env env = info.Env();
  const int fd = info[0].As<Napi::Number>().Int32Value();
  uv_loop_t* loop = nullptr;
  NAPI_THROW_IF_FAILED_VOID(env, napi_get_uv_event_loop(env, &loop));
  auto handle = std::make_unique<Handle>();
  if (const int error = uv_poll_init(loop, &handle->poll, fd); error != 0) {
    throw Napi::Error::New(env, uv_strerror(error));
  }
  handle->fd = fd;
  handle->watcher = this;
  handle->watchers = Watchers::Of(env);
  handle->poll.data = handle.get();
  handle->watchers->Add(this);
  handle_ = handle.release();
  on_ready_ = Napi::Persistent(info[1].As<Napi::Function>());
}

/* (events: UV_READABLE | UV_WRITABLE) => void */
void Watcher::Watch(const Napi::CallbackInfo& info) {
  if (handle_ == nullptr) return;
  const auto on_poll = [](uv_poll_t* poll, int status, int events) {
    Watcher* watcher = static_cast<Handle*>(poll->data)->watcher;
    if (watcher != nullptr) watcher->OnReady(status, events);
  };
  uv_poll_start(&handle_->poll, info[0].As<Napi::Number>().Int32Value(), on_poll);
}

void Watcher::Shut() {
  Handle* handle = std::exchange(handle_, nullptr);
  if (handle == nullptr) return;
  handle->watcher = nullptr;
  handle->watchers->Remove(this);
  on_ready_.Reset();
  uv_poll_stop(&handle->poll);
  close(handle->fd); /* At once: the peer is to see it now. */
  uv_close(reinterpret_cast<uv_handle_t*>(&handle->poll), [](uv_handle_t* closed) {
    auto* gone = static_cast<Handle*>(closed->data);
    const std::shared_ptr<Watchers> watchers = std::move(gone->watchers);
    delete gone;
    watchers->OnClosed();
  });
}

/* An error is told as readiness for everything: the next call on the socket gives it. */
void Watcher::OnReady(int status, int events) {
  const Napi::Env env = Env();
  const Napi::HandleScope scope(env);
  const int ready = status < 0 ? UV_READABLE | UV_WRITABLE : events;
  try {
    on_ready_.MakeCallback(Value(), {Napi::Number::New(env, ready)});
  } catch (const Napi::Error& error) {
    napi_fatal_exception(env, error.Value());
  }
}

}  // namespace mooncake::shm
