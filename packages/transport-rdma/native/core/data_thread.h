#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "endpoint.h"
#include "outbox.h"
#include "spin_budget.h"
#include "task_thread.h"

namespace mooncake::rdma {

// The thread of a device that posts and takes completions. What is slow, destroying queue pairs, runs on `keeper`.
//
// An operation first waits for the check of its window, then for room in a queue pair, and ends when its last slice
// has. Where a queue pair breaks, its whole endpoint is brought to rest and destroyed before any operation that was
// left on it is reported (I3).
class DataThread {
public:
  DataThread(Device &device, Outbox &outbox, TaskThread &keeper);
  DataThread(const DataThread &) = delete;
  DataThread &operator=(const DataThread &) = delete;
  ~DataThread();

  // False, with a sentence, where the system has no more descriptors or memory.
  bool start(std::string &problem);
  // Brings every endpoint to rest. Ends without reporting what was left. Idempotent.
  void stop();

  // Any thread. `ready` runs on the data thread once the endpoint's completions are understood.
  void add(std::shared_ptr<Endpoint> endpoint, std::function<void()> ready);
  void connected(uint32_t endpoint);
  void close(uint32_t endpoint);
  void submit(std::vector<OperationOrder> orders);
  void cancel(std::vector<double> operations);

  size_t operationCount() const { return operationCount_; }
  size_t endpointCount() const { return endpointCount_; }
  uint64_t postedCalls() const { return postedCalls_; }
  uint64_t sleeps() const { return sleeps_; }

private:
  using Command = std::function<void()>;

  void enqueue(Command command);
  void run();
  bool runCommands();
  int waitMs(TimePoint now);
  void sleep();
  void drainBell();
  void drainAsyncEvents();
  void unwatch(int fd);
  void die();
  bool prepareLandings(std::string &problem);

  void accept(OperationOrder &order, std::vector<Check *> &checks);
  bool pollCompletions();
  void onCompletion(const ibv_wc &completion);
  void retireBefore(QueuePair &pair, Endpoint &endpoint, uint32_t number);
  void retire(QueuePair &pair, Endpoint &endpoint, int32_t status);
  void onCheckRead(Check &check);
  void resolve(Check &check, const Token &seen, WindowState state, const WindowSlot &slot);
  void endCheck(Check &check);
  void sliceEnded(Operation &operation, Endpoint &endpoint, int32_t status);
  void end(Operation &operation, Endpoint &endpoint, int32_t status);

  void list(Endpoint &endpoint);
  void postAll();
  void post(Endpoint &endpoint);
  bool postChain(Endpoint &endpoint, QueuePair &pair);
  void postCheck(Endpoint &endpoint, QueuePair &pair, Check &check);
  bool give(Endpoint &endpoint, QueuePair &pair, ibv_send_wr *first, uint32_t count);
  void postMarker(QueuePair &pair);
  QueuePair *roomiest(Endpoint &endpoint);

  void breakDown(Endpoint &endpoint, int32_t status);
  bool tend(TimePoint now);
  void destroy(Endpoint &endpoint);
  void settle(Endpoint &endpoint);

  Device &device_;
  Outbox &outbox_;
  TaskThread &keeper_;

  std::mutex mutex_;
  std::vector<Command> commands_;
  std::atomic<bool> sleeping_{false};
  bool stopping_ = false;
  // The device will do nothing any more.
  bool dead_ = false;
  int wakeFd_ = -1;
  int epollFd_ = -1;
  std::thread thread_;

  std::unordered_map<uint32_t, std::shared_ptr<Endpoint>> endpoints_;
  std::unordered_map<uint32_t, Endpoint *> bySerial_;
  std::unordered_map<double, std::pair<std::unique_ptr<Operation>, Endpoint *>> operations_;
  std::list<std::unique_ptr<Check>> checks_;
  std::vector<WindowSlot> landings_;
  std::vector<int> freeLandings_;
  ibv_mr *landingMr_ = nullptr;
  std::vector<Completion> ended_;
  SpinBudget spin_;
  // Endpoints that have something to post.
  std::vector<Endpoint *> listed_;
  // Endpoints that are being brought to rest.
  size_t tended_ = 0;

  std::atomic<size_t> operationCount_{0};
  std::atomic<size_t> endpointCount_{0};
  std::atomic<uint64_t> postedCalls_{0};
  std::atomic<uint64_t> sleeps_{0};
};

} // namespace mooncake::rdma
