#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "device_thread.h"
#include "endpoint.h"
#include "task_thread.h"

namespace mooncake::rdma {

// The thread of a device that moves data. What is slow, destroying queue pairs, runs on `keeper`.
//
// An operation first waits for the check of its window, then for room in a queue pair, and ends when its last slice
// has. Where a queue pair breaks, its whole endpoint is brought to rest and destroyed before any operation that was
// left on it is reported (I3).
class DataThread final : public DeviceThread {
public:
  DataThread(Device &device, Outbox &outbox, TaskThread &keeper);
  ~DataThread() override;

  // False, with a sentence, where the system has no more descriptors or memory.
  bool start(std::string &problem);

  // Any thread. `ready` runs on the data thread once the endpoint's completions are understood.
  void add(std::shared_ptr<Endpoint> endpoint, std::function<void()> ready);
  void connected(uint32_t endpoint);
  void close(uint32_t endpoint);
  void submit(std::vector<OperationOrder> orders);
  void cancel(std::vector<double> operations);

  size_t operationCount() const { return operationCount_; }
  size_t endpointCount() const { return endpointCount_; }
  uint64_t postedCalls() const { return postedCalls_; }

private:
  void onCompletion(const ibv_wc &completion) override;
  bool tend(TimePoint now) override;
  void publish() override { outbox_.add(ended_); }
  TimePoint nextTend() const override;
  bool atRest() const override { return endpoints_.empty(); }
  bool awaits() const override { return !operations_.empty(); }
  void breakAllDown(int32_t status) override;

  bool prepareLandings(std::string &problem);

  void accept(OperationOrder &order, std::vector<Check *> &checks);
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
  void lookAgain(TimePoint now);
  void destroyRested(TimePoint now);
  void destroy(Endpoint &endpoint);
  void settle(Endpoint &endpoint);

  TaskThread &keeper_;

  std::unordered_map<uint32_t, std::shared_ptr<Endpoint>> endpoints_;
  std::unordered_map<uint32_t, Endpoint *> bySerial_;
  std::unordered_map<double, std::pair<std::unique_ptr<Operation>, Endpoint *>> operations_;
  std::list<std::unique_ptr<Check>> checks_;
  std::vector<WindowSlot> landings_;
  std::vector<int> freeLandings_;
  ibv_mr *landingMr_ = nullptr;
  std::vector<Completion> ended_;
  // Endpoints that have something to post.
  std::vector<Endpoint *> listed_;
  // Endpoints that are being brought to rest.
  size_t tended_ = 0;

  std::atomic<size_t> operationCount_{0};
  std::atomic<size_t> endpointCount_{0};
  std::atomic<uint64_t> postedCalls_{0};
};

} // namespace mooncake::rdma
