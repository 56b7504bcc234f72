#pragma once
#include <napi.h>
#include <uv.h>

#include <memory>
#include <set>

namespace mooncake::shm {

class Watcher;

/* The watchers of one environment, whose loop must not end before all their handles are closed. */
class Watchers : public std::enable_shared_from_this<Watchers> {
 public:
  static void Open(Napi::Env env);
  static std::shared_ptr<Watchers> Of(Napi::Env env);

  void Add(Watcher* watcher);
  void Remove(Watcher* watcher) { open_.erase(watcher); }
  /* libuv is done with one handle. */
  void OnClosed();

 private:
  void BeginTeardown(napi_async_cleanup_hook_handle hook);
  void FinishTeardown();

  std::set<Watcher*> open_;
  size_t handles_ = 0;
  napi_async_cleanup_hook_handle teardown_ = nullptr;
  std::shared_ptr<Watchers>* teardown_share_ = nullptr;
};

/* `new Watcher(fd, onReady)` of JavaScript: owns a descriptor, and tells when it can be read or written. */
class Watcher final : public Napi::ObjectWrap<Watcher> {
 public:
  static Napi::Function Define(Napi::Env env);
  explicit Watcher(const Napi::CallbackInfo& info);
  ~Watcher() override { Shut(); }

  /* Stops, and closes the descriptor. Idempotent. */
  void Shut();

 private:
  /* What libuv uses until the handle is closed, which may be after the watcher has gone. */
  struct Handle {
    uv_poll_t poll{};
    int fd;
    Watcher* watcher;
    std::shared_ptr<Watchers> watchers;
  };

  void Watch(const Napi::CallbackInfo& info);
  void Close(const Napi::CallbackInfo&) { Shut(); }
  void OnReady(int status, int events);

  Handle* handle_ = nullptr;
  Napi::FunctionReference on_ready_;
};

}  // namespace mooncake::shm
