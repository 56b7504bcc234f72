#pragma once
#include <memory>
#include <unordered_map>

#include "data_thread.h"
#include "device.h"
#include "outbox.h"
#include "registration.h"
#include "task_thread.h"
#include "window_table.h"

namespace mooncake::rdma {

struct EngineStats {
  uint32_t memoryRegions;
  uint32_t queuePairs;
  size_t endpoints;
  size_t operations;
  uint64_t postedCalls;
  uint64_t sleeps;
};

// Everything that one device does for this process. One thread calls; what ends comes through the outbox.
class Engine {
public:
  // The table outlives the engine.
  static std::unique_ptr<Engine> open(std::shared_ptr<const Verbs> verbs, const DeviceOptions &options,
                                      std::shared_ptr<WindowTable> table, std::function<void()> ring,
                                      std::string &problem);
  Engine(const Engine &) = delete;
  Engine &operator=(const Engine &) = delete;
  ~Engine();

  Outbox &outbox() { return outbox_; }
  const Device &device() const { return *device_; }

  // Takes over the caller's use of `region`. Ends with `registered`.
  void registerMemory(uint32_t id, mooncake_region *region, uint8_t *base, uint64_t lengthBytes);
  // The device forgets the memory when the last operation on it has ended.
  void deregister(uint32_t id);

  // Ends with `created`, which carries what the peer needs.
  void createEndpoint(uint32_t id, uint32_t dataPairs, uint32_t depth);
  // Ends with `connected`.
  void connectEndpoint(uint32_t id, const ConnectionInfo &remote);
  // Ends with `closed`, when nothing touches memory for it any more.
  void closeEndpoint(uint32_t id);
  // The endpoint has ended with `closed`.
  void forgetEndpoint(uint32_t id) { endpoints_.erase(id); }

  std::shared_ptr<Registration> registration(uint32_t id) const;
  void submit(std::vector<OperationOrder> orders) { data_.submit(std::move(orders)); }
  void cancel(std::vector<double> operations) { data_.cancel(std::move(operations)); }

  EngineStats stats() const;

private:
  Engine(std::unique_ptr<Device> device, std::shared_ptr<WindowTable> table, std::function<void()> ring);
  bool start(std::string &problem);

  const std::shared_ptr<WindowTable> table_;
  const std::unique_ptr<Device> device_;
  ibv_mr *tableMr_ = nullptr;
  Outbox outbox_;
  uint32_t nextSerial_ = 1;
  std::unordered_map<uint32_t, std::shared_ptr<Registration>> registrations_;
  std::unordered_map<uint32_t, std::shared_ptr<Endpoint>> endpoints_;
  // In this order: the data thread uses the keeper to its end.
  TaskThread registrar_;
  // Connects queue pairs, each up to a second long; the keeper makes and destroys them.
  TaskThread connector_;
  TaskThread keeper_;
  DataThread data_;
};

} // namespace mooncake::rdma
