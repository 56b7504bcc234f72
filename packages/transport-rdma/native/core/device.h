#pragma once
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "verbs.h"
#include "wire.h"

namespace mooncake::rdma {

struct DeviceOptions {
  std::string name;
  uint8_t port;
  // Which place in the rkeys of a window is this device's.
  uint32_t number;
  // Below 0: found by its content.
  int gidIndex;
  // ibv_mtu; the port's own where that is less.
  uint8_t mtuMax;
  uint32_t queueDepth;
  uint32_t completionsMax;
  uint32_t inlineBytesMax;
  uint32_t sliceBytes;
  uint8_t ackTimeout;
  uint8_t packetRetries;
  uint8_t serviceLevel;
  uint8_t trafficClass;
  uint16_t pkeyIndex;
  bool relaxedOrdering;
  uint32_t spinNsMax;
};

struct GidEntry {
  int index;
  std::array<uint8_t, 16> gid;
  bool roceV2;
};

// RoCE v2 with an IPv4 address is what every network routes; else v2 with any address but a link-local one; else the
// first. Below 0: there is none.
int chooseGid(const std::vector<GidEntry> &entries);

struct PortState {
  int error = 0;
  bool active = false;
  bool ethernet = false;
  uint8_t mtu = 0;
  uint16_t lid = 0;
  int gidIndex = -1;
  std::array<uint8_t, 16> gid{};
};

// What peers may do with the memory of a Region.
constexpr int kRegionAccess = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE;

struct Found {
  int error = 0;
  std::vector<std::string> names;
};

Found findDevices(const Verbs &verbs);

// An open device with its protection domain, completion queue and channel. What failed is in `problem`.
class Device {
public:
  static std::unique_ptr<Device> open(std::shared_ptr<const Verbs> verbs, const DeviceOptions &options,
                                      std::string &problem);
  Device(const Device &) = delete;
  Device &operator=(const Device &) = delete;
  ~Device();

  const Verbs &verbs() const { return *verbs_; }
  const DeviceOptions &options() const { return options_; }
  ibv_context *context() const { return context_; }
  ibv_pd *pd() const { return pd_; }
  ibv_cq *cq() const { return cq_; }
  ibv_comp_channel *channel() const { return channel_; }
  const ibv_device_attr &limits() const { return limits_; }
  // Of the PCI function, or -1.
  int numaNode() const { return numaNode_; }

  PortState queryPort() const;
  // Null with errno. What is registered with `access` counts until `deregister`.
  ibv_mr *registerMemory(void *address, size_t lengthBytes, int access) const;
  void deregister(ibv_mr *mr) const;

  // Every work request may end with an error of its own, so the completion queue has a place for each. Any thread.
  bool reserveCompletions(uint32_t count);
  void releaseCompletions(uint32_t count) { reserved_.fetch_sub(count); }

  // Counted for those who look for leaks.
  mutable std::atomic<uint32_t> memoryRegions{0};
  mutable std::atomic<uint32_t> queuePairs{0};

private:
  Device(std::shared_ptr<const Verbs> verbs, DeviceOptions options)
      : verbs_(std::move(verbs)), options_(std::move(options)) {}
  bool prepare(std::string &problem);
  // Those of the port that can be used, of a table of so many places.
  std::vector<GidEntry> gids(int tableLength) const;

  const std::shared_ptr<const Verbs> verbs_;
  const DeviceOptions options_;
  ibv_context *context_ = nullptr;
  ibv_pd *pd_ = nullptr;
  ibv_comp_channel *channel_ = nullptr;
  ibv_cq *cq_ = nullptr;
  ibv_device_attr limits_{};
  int numaNode_ = -1;
  std::atomic<uint32_t> reserved_{0};
};

} // namespace mooncake::rdma
