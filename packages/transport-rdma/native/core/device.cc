#include "device.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

namespace mooncake::rdma {

namespace {

// ah_attr has eight bits for an index.
constexpr uint32_t kGidIndexMax = 255;

bool isIpv4Mapped(const std::array<uint8_t, 16> &gid) {
  return std::all_of(gid.begin(), gid.begin() + 10, [](uint8_t byte) { return byte == 0; }) && gid[10] == 0xff &&
         gid[11] == 0xff;
}

bool isLinkLocal(const std::array<uint8_t, 16> &gid) { return gid[0] == 0xfe && (gid[1] & 0xc0) == 0x80; }

bool isEmpty(const std::array<uint8_t, 16> &gid) {
  return std::all_of(gid.begin(), gid.end(), [](uint8_t byte) { return byte == 0; });
}

std::string inSysfs(const std::string &device, const std::string &path) {
  std::ifstream file("/sys/class/infiniband/" + device + "/" + path);
  std::string line;
  std::getline(file, line);
  return line;
}

bool setNonBlocking(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

std::string because(const std::string &what) { return what + ": " + std::strerror(errno); }

} // namespace

int chooseGid(const std::vector<GidEntry> &entries) {
  const GidEntry *best = nullptr;
  int bestRank = 0;
  for (const GidEntry &entry : entries) {
    if (isEmpty(entry.gid)) continue;
    const int rank = !entry.roceV2 ? 1 : isIpv4Mapped(entry.gid) ? 4 : isLinkLocal(entry.gid) ? 2 : 3;
    if (rank <= bestRank) continue;
    best = &entry;
    bestRank = rank;
  }
  return best == nullptr ? -1 : best->index;
}

Found findDevices(const Verbs &verbs) {
  Found found;
  int count = 0;
  errno = 0;
  ibv_device **list = verbs.getDeviceList(&count);
  if (list == nullptr) {
    found.error = errno;
    return found;
  }
  for (int i = 0; i < count; i++) found.names.emplace_back(verbs.getDeviceName(list[i]));
  verbs.freeDeviceList(list);
  std::sort(found.names.begin(), found.names.end());
  return found;
}

std::unique_ptr<Device> Device::open(std::shared_ptr<const Verbs> verbs, const DeviceOptions &options,
                                     std::string &problem) {
  std::unique_ptr<Device> device(new Device(std::move(verbs), options));
  return device->prepare(problem) ? std::move(device) : nullptr;
}

bool Device::prepare(std::string &problem) {
  int count = 0;
  ibv_device **list = verbs_->getDeviceList(&count);
  for (int i = 0; list != nullptr && i < count && context_ == nullptr; i++) {
    if (options_.name != verbs_->getDeviceName(list[i])) continue;
    context_ = verbs_->openDevice(list[i]);
    if (context_ == nullptr) problem = because("ibv_open_device");
  }
  if (list != nullptr) verbs_->freeDeviceList(list);
  if (context_ == nullptr) {
    if (problem.empty()) problem = "there is no such device";
    return false;
  }
  const auto failed = [&problem](const char *what) {
    problem = because(what);
    return false;
  };
  if (verbs_->queryDevice(context_, &limits_) != 0) return failed("ibv_query_device");
  if (options_.port > limits_.phys_port_cnt) {
    problem = "it has no port " + std::to_string(options_.port);
    return false;
  }
  pd_ = verbs_->allocPd(context_);
  if (pd_ == nullptr) return failed("ibv_alloc_pd");
  channel_ = verbs_->createCompChannel(context_);
  if (channel_ == nullptr) return failed("ibv_create_comp_channel");
  const int depth = std::min<int>(static_cast<int>(options_.completionsMax), limits_.max_cqe);
  cq_ = verbs_->createCq(context_, depth, nullptr, channel_, 0);
  if (cq_ == nullptr) return failed("ibv_create_cq");
  if (!setNonBlocking(channel_->fd) || !setNonBlocking(context_->async_fd)) return failed("fcntl");
  const std::string node = inSysfs(options_.name, "device/numa_node");
  if (!node.empty()) numaNode_ = std::atoi(node.c_str());
  return true;
}

Device::~Device() {
  if (cq_ != nullptr) verbs_->destroyCq(cq_);
  if (channel_ != nullptr) verbs_->destroyCompChannel(channel_);
  if (pd_ != nullptr) verbs_->deallocPd(pd_);
  if (context_ != nullptr) verbs_->closeDevice(context_);
}

std::vector<GidEntry> Device::gids(int tableLength) const {
  std::vector<GidEntry> found;
  if (verbs_->queryGidTable != nullptr) {
    // Those of all ports: with fewer places than there are entries the call fails.
    std::vector<ibv_gid_entry> entries(static_cast<size_t>(limits_.phys_port_cnt) * std::max(tableLength, 1));
    const ssize_t count = verbs_->queryGidTable(context_, entries.data(), entries.size(), 0, sizeof(ibv_gid_entry));
    for (ssize_t i = 0; i < count; i++) {
      if (entries[i].port_num != options_.port || entries[i].gid_index > kGidIndexMax) continue;
      GidEntry &entry = found.emplace_back();
      entry.index = static_cast<int>(entries[i].gid_index);
      std::memcpy(entry.gid.data(), entries[i].gid.raw, 16);
      entry.roceV2 = entries[i].gid_type == IBV_GID_TYPE_ROCE_V2;
    }
    if (count >= 0) return found;
  }
  // A kernel or a library without that call.
  for (int index = 0; index < 16; index++) {
    ibv_gid gid;
    if (verbs_->queryGid(context_, options_.port, index, &gid) != 0) break;
    GidEntry &entry = found.emplace_back();
    entry.index = index;
    std::memcpy(entry.gid.data(), gid.raw, 16);
    const std::string port = "ports/" + std::to_string(options_.port);
    entry.roceV2 = inSysfs(options_.name, port + "/gid_attrs/types/" + std::to_string(index)) == "RoCE v2";
  }
  return found;
}

PortState Device::queryPort() const {
  PortState state;
  ibv_port_attr port;
  state.error = verbs_->queryPort(context_, options_.port, &port);
  if (state.error != 0) return state;
  state.active = port.state == IBV_PORT_ACTIVE;
  state.ethernet = port.link_layer == IBV_LINK_LAYER_ETHERNET;
  state.mtu = std::min<uint8_t>(static_cast<uint8_t>(port.active_mtu), options_.mtuMax);
  state.lid = port.lid;
  const std::vector<GidEntry> entries = gids(port.gid_tbl_len);
  state.gidIndex = options_.gidIndex >= 0 ? options_.gidIndex : chooseGid(entries);
  for (const GidEntry &entry : entries) {
    if (entry.index == state.gidIndex) state.gid = entry.gid;
  }
  // On InfiniBand the LID leads to the peer.
  if (state.ethernet && isEmpty(state.gid)) state.error = EADDRNOTAVAIL;
  return state;
}

ibv_mr *Device::registerMemory(void *address, size_t lengthBytes, int access) const {
  const bool relaxed = options_.relaxedOrdering && access == kRegionAccess && verbs_->regMrIova2 != nullptr;
  ibv_mr *mr = relaxed ? verbs_->regMrIova2(pd_, address, lengthBytes, reinterpret_cast<uint64_t>(address),
                                            static_cast<unsigned>(access) | IBV_ACCESS_RELAXED_ORDERING)
                       : verbs_->regMr(pd_, address, lengthBytes, access);
  if (mr != nullptr) memoryRegions.fetch_add(1);
  return mr;
}

void Device::deregister(ibv_mr *mr) const {
  verbs_->deregMr(mr);
  memoryRegions.fetch_sub(1);
}

bool Device::reserveCompletions(uint32_t count) {
  const auto capacity = static_cast<uint32_t>(cq_->cqe);
  if (reserved_.fetch_add(count) + count <= capacity) return true;
  reserved_.fetch_sub(count);
  return false;
}

} // namespace mooncake::rdma
