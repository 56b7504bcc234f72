#include "engine.h"

#include <cerrno>
#include <cstring>

namespace mooncake::rdma {

std::unique_ptr<Engine> Engine::open(std::shared_ptr<const Verbs> verbs, const DeviceOptions &options,
                                     std::shared_ptr<WindowTable> table, std::function<void()> ring,
                                     std::string &problem) {
  std::unique_ptr<Device> device = Device::open(std::move(verbs), options, problem);
  if (device == nullptr) return nullptr;
  std::unique_ptr<Engine> engine(new Engine(std::move(device), std::move(table), std::move(ring)));
  return engine->start(problem) ? std::move(engine) : nullptr;
}

Engine::Engine(std::unique_ptr<Device> device, std::shared_ptr<WindowTable> table, std::function<void()> ring)
    : table_(std::move(table)), device_(std::move(device)), outbox_(std::move(ring)),
      data_(*device_, outbox_, keeper_) {}

Engine::~Engine() {
  data_.stop();
  connector_.finish();
  keeper_.finish();
  endpoints_.clear();
  registrations_.clear();
  registrar_.finish();
  if (tableMr_ != nullptr) device_->deregister(tableMr_);
}

bool Engine::start(std::string &problem) {
  // Peers read it and nothing else; LOCAL_WRITE is only what lets the device map memory that changes.
  tableMr_ = device_->registerMemory(table_->memory(), table_->lengthBytes(),
                                     IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ);
  if (tableMr_ == nullptr) {
    problem = std::string("ibv_reg_mr: ") + std::strerror(errno);
    return false;
  }
  return data_.start(problem);
}

void Engine::registerMemory(uint32_t id, mooncake_region *region, uint8_t *base, uint64_t lengthBytes) {
  // Deregistering takes as long as registering does, whoever lets go last.
  std::shared_ptr<Registration> memory(
      new Registration(*device_, region, base, lengthBytes),
      [this](Registration *last) { registrar_.post([last] { delete last; }); });
  registrations_[id] = memory;
  registrar_.post([this, id, memory] {
    const int error = memory->registerNow();
    outbox_.add(Event{.kind = EventKind::registered,
                      .subject = id,
                      .status = error,
                      .rkey = error == 0 ? memory->remoteKey() : 0,
                      .numaNode = memory->numaNode()});
  });
}

void Engine::deregister(uint32_t id) { registrations_.erase(id); }

std::shared_ptr<Registration> Engine::registration(uint32_t id) const {
  const auto found = registrations_.find(id);
  return found == registrations_.end() ? nullptr : found->second;
}

void Engine::createEndpoint(uint32_t id, uint32_t dataPairs, uint32_t depth) {
  auto endpoint = std::make_shared<Endpoint>(*device_, id);
  endpoints_[id] = endpoint;
  const uint32_t firstSerial = nextSerial_;
  nextSerial_ += dataPairs + 1;
  keeper_.post([this, endpoint, dataPairs, depth, firstSerial] {
    Event event{.kind = EventKind::created, .subject = endpoint->id};
    const PortState port = device_->queryPort();
    event.status = port.error;
    if (port.error != 0) event.text = "the port";
    else event.status = endpoint->create(dataPairs, depth, firstSerial, event.text);
    if (event.status != 0) {
      endpoint->destroy();
      outbox_.add(std::move(event));
      return;
    }
    ConnectionInfo info;
    info.ethernet = port.ethernet ? 1 : 0;
    info.mtu = port.mtu;
    info.lid = port.lid;
    info.gid = port.gid;
    info.tableAddress = reinterpret_cast<uint64_t>(table_->memory());
    info.tableRkey = tableMr_->rkey;
    info.tableSlots = static_cast<uint32_t>(table_->slotCount());
    info.deviceNumber = device_->options().number;
    endpoint->describe(info);
    event.bytes = info.encode();
    data_.add(endpoint, [this, event = std::move(event)] { outbox_.add(event); });
  });
}

void Engine::connectEndpoint(uint32_t id, const ConnectionInfo &remote) {
  const auto found = endpoints_.find(id);
  if (found == endpoints_.end()) {
    outbox_.add(Event{.kind = EventKind::connected, .subject = id, .status = ENOENT});
    return;
  }
  connector_.post([this, endpoint = found->second, remote] {
    Event event{.kind = EventKind::connected, .subject = endpoint->id};
    const PortState port = device_->queryPort();
    event.status = port.error;
    if (port.error == 0) event.status = endpoint->connect(remote, port, event.text);
    // The data thread must know before anybody submits.
    if (event.status == 0) data_.connected(endpoint->id);
    outbox_.add(std::move(event));
  });
}

void Engine::closeEndpoint(uint32_t id) { data_.close(id); }

EngineStats Engine::stats() const {
  return {device_->memoryRegions, device_->queuePairs, data_.endpointCount(),
          data_.operationCount(), data_.postedCalls(), data_.sleeps()};
}

} // namespace mooncake::rdma
