#pragma once
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace mooncake::rdma {

// How an operation ended: 0, an ibv_wc_status, or one of these. Shared with src/native.ts.
enum OperationStatus : int32_t {
  kDone = 0,
  kCancelled = -1,
  kAccessDenied = -2,
  // The peer has not registered the memory for its device that this connection leads to.
  kNotRegisteredThere = -3,
  kEndpointGone = -4,
};

struct Completion {
  double operation;
  int32_t status;
};

// Shared with src/native.ts.
enum class EventKind : uint32_t { registered, created, connected, broken, closed, async };

struct Event {
  EventKind kind;
  // Registration, endpoint, or type of the asynchronous event.
  uint32_t subject = 0;
  // errno, or an ibv_wc_status for `broken`.
  int32_t status = 0;
  uint32_t rkey = 0;
  int32_t numaNode = -1;
  std::string text{};
  std::vector<uint8_t> bytes{};
};

// On their way to the JavaScript thread. `ring` is called once for all that comes until somebody takes it.
class Outbox {
public:
  explicit Outbox(std::function<void()> ring) : ring_(std::move(ring)) {}

  void add(Event event) {
    const std::lock_guard lock(mutex_);
    events_.push_back(std::move(event));
    ringOnce();
  }

  // Leaves `completions` empty.
  void add(std::vector<Completion> &completions) {
    if (completions.empty()) return;
    const std::lock_guard lock(mutex_);
    completions_.insert(completions_.end(), completions.begin(), completions.end());
    completions.clear();
    ringOnce();
  }

  void take(std::vector<Completion> &completions, std::vector<Event> &events) {
    const std::lock_guard lock(mutex_);
    rung_ = false;
    completions.swap(completions_);
    events.swap(events_);
  }

private:
  void ringOnce() {
    if (!rung_) ring_();
    rung_ = true;
  }

  const std::function<void()> ring_;
  std::mutex mutex_;
  bool rung_ = false;
  std::vector<Completion> completions_;
  std::vector<Event> events_;
};

} // namespace mooncake::rdma
