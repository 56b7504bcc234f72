#pragma once
#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "device.h"
#include "outbox.h"
#include "spin_budget.h"

namespace mooncake::rdma {

// The loop of the thread that owns a device's completion queue: what other threads ask for, completions, the bell of
// the completion channel and asynchronous events. Polls for a while that adapts, then sleeps.
class DeviceThread {
public:
  using TimePoint = std::chrono::steady_clock::time_point;

  DeviceThread(Device &device, Outbox &outbox);
  DeviceThread(const DeviceThread &) = delete;
  DeviceThread &operator=(const DeviceThread &) = delete;
  // Who derives from it has called `stop`.
  virtual ~DeviceThread();

  // False, with a sentence, where the system has no more descriptors or memory.
  bool start(std::string &problem);
  // Brings everything to rest. Ends without reporting what was left. Idempotent.
  void stop();

  uint64_t sleeps() const { return sleeps_; }

protected:
  using Command = std::function<void()>;

  // Any thread.
  void enqueue(Command command);
  // The device will do nothing any more.
  bool isDead() const { return dead_; }

  // ---- what the thread does, in the order of a round
  virtual void onCompletion(const ibv_wc &completion) = 0;
  // What has a time. True where something happened.
  virtual bool tend(TimePoint now) = 0;
  // Hands what was gathered to the outbox.
  virtual void publish() = 0;
  // When `tend` has to be called at the latest.
  virtual TimePoint nextTend() const = 0;
  // Nothing is left that the device could touch.
  virtual bool atRest() const = 0;
  // Whether what is awaited may come soon, so that polling is worth it.
  virtual bool awaits() const = 0;
  virtual void breakAllDown(int32_t status) = 0;

  Device &device_;
  Outbox &outbox_;

private:
  void run();
  bool runCommands();
  bool pollCompletions();
  void sleep();
  int waitMs() const;
  void drainBell();
  void drainAsyncEvents();
  void unwatch(int fd);
  void die();
  void tell(ibv_event_type type);

  std::mutex mutex_;
  std::vector<Command> commands_;
  std::atomic<bool> sleeping_{false};
  bool stopping_ = false;
  bool dead_ = false;
  int wakeFd_ = -1;
  int epollFd_ = -1;
  std::thread thread_;
  SpinBudget spin_;
  std::atomic<uint64_t> sleeps_{0};
};

} // namespace mooncake::rdma
