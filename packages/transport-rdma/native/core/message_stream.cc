#include "message_stream.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace mooncake::rdma {

namespace {

constexpr uint64_t kPageBytes = 4096;
constexpr uint32_t kSlotsMax = 4096;

} // namespace

std::vector<uint8_t> StreamInfo::encode() const {
  const auto *bytes = reinterpret_cast<const uint8_t *>(this);
  return {bytes, bytes + sizeof *this};
}

std::optional<StreamInfo> StreamInfo::decode(const uint8_t *bytes, size_t lengthBytes) {
  if (lengthBytes != sizeof(StreamInfo)) return std::nullopt;
  const auto connection = ConnectionInfo::decode(bytes, sizeof(ConnectionInfo));
  if (!connection.has_value() || connection->queuePairCount != 1) return std::nullopt;
  StreamInfo info;
  std::memcpy(static_cast<void *>(&info), bytes, sizeof info);
  const bool valid = info.slots >= 1 && info.slots <= kSlotsMax && info.slotBytes >= 1;
  return valid ? std::optional(info) : std::nullopt;
}

MessageStream::MessageStream(Device &device, uint32_t id, uint32_t serial, const StreamOptions &options)
    : device_(device), options_(options), id(id), serial(serial), credits_(options.slots) {}

MessageStream::~MessageStream() {
  destroy();
  std::free(memory_);
}

int MessageStream::create(std::string &what) {
  const uint32_t completions = sendCount() + receiveCount();
  if (!device_.reserveCompletions(completions)) {
    what = "the completion queue has no room for another stream";
    return ENOSPC;
  }
  reservedCompletions_ = completions;
  const uint64_t receiveBytes = static_cast<uint64_t>(receiveCount()) * options_.slotBytes;
  const uint64_t pages = (receiveBytes + options_.sendBytes + kPageBytes - 1) / kPageBytes;
  memory_ = static_cast<uint8_t *>(std::aligned_alloc(kPageBytes, pages * kPageBytes));
  what = "its buffers";
  if (memory_ == nullptr) return ENOMEM;
  errno = 0;
  mr_ = device_.registerMemory(memory_, pages * kPageBytes, IBV_ACCESS_LOCAL_WRITE);
  if (mr_ == nullptr) return errno == 0 ? EIO : errno;
  ring_ = ByteRing(memory_ + receiveBytes, options_.sendBytes);
  const QueuePairOrder order{.sends = sendCount(), .receives = receiveCount(), .access = IBV_ACCESS_LOCAL_WRITE};
  if (const int error = createQueuePair(device_, order, pair_, what); error != 0) return error;
  for (uint32_t slot = 0; slot < receiveCount(); slot++) {
    if (const int error = postReceive(slot); error != 0) {
      what = "ibv_post_recv";
      return error;
    }
  }
  return 0;
}

int MessageStream::connect(const ConnectionInfo &to, const PortState &port, std::string &what) {
  const std::lock_guard lock(changing_);
  return connectQueuePair(device_, pair_.qp, pair_.firstSequence, to.queuePairs[0], to, port, what);
}

void MessageStream::destroy() {
  const std::lock_guard lock(changing_);
  destroyQueuePair(device_, pair_.qp);
  if (mr_ != nullptr) device_.deregister(mr_);
  mr_ = nullptr;
  device_.releaseCompletions(reservedCompletions_);
  reservedCompletions_ = 0;
}

StreamInfo MessageStream::describe(const PortState &port) const {
  StreamInfo info;
  info.slots = options_.slots;
  info.slotBytes = options_.slotBytes;
  ConnectionInfo &connection = info.connection;
  connection.ethernet = port.ethernet ? 1 : 0;
  connection.mtu = port.mtu;
  connection.lid = port.lid;
  connection.gid = port.gid;
  connection.readsMax = readsMaxOf(device_);
  connection.deviceNumber = device_.options().number;
  connection.queuePairCount = 1;
  connection.queuePairs[0] = {pair_.qp->qp_num, pair_.firstSequence};
  return info;
}

int MessageStream::postReceive(uint32_t slot) {
  ibv_sge place{reinterpret_cast<uint64_t>(slotAt(slot)), options_.slotBytes, mr_->lkey};
  ibv_recv_wr receive{};
  receive.wr_id = idOf(slot | kReceiveBit);
  receive.sg_list = &place;
  receive.num_sge = 1;
  ibv_recv_wr *bad = nullptr;
  const int error = ibv_post_recv(pair_.qp, &receive, &bad);
  if (error == 0) receivesPosted_++;
  return error;
}

uint64_t MessageStream::write(const uint8_t *bytes, uint64_t lengthBytes) {
  const std::lock_guard lock(mutex_);
  const uint64_t taken = ring_.write(bytes, lengthBytes);
  wantsRoom_ = taken < lengthBytes;
  return taken;
}

uint64_t MessageStream::readableBytes() {
  const std::lock_guard lock(mutex_);
  uint64_t bytes = 0;
  for (const Filled &filled : filled_) bytes += filled.lengthBytes;
  wantsBytes_ = bytes == 0;
  return bytes - (bytes == 0 ? 0 : readOfFirst_);
}

uint64_t MessageStream::read(uint8_t *bytes, uint64_t lengthBytes, bool &poke) {
  const std::lock_guard lock(mutex_);
  uint64_t taken = 0;
  while (taken < lengthBytes && !filled_.empty()) {
    const Filled &first = filled_.front();
    const uint64_t count = std::min<uint64_t>(lengthBytes - taken, first.lengthBytes - readOfFirst_);
    std::memcpy(bytes + taken, slotAt(first.slot) + readOfFirst_, count);
    taken += count;
    readOfFirst_ += static_cast<uint32_t>(count);
    if (readOfFirst_ < first.lengthBytes) break;
    freed_.push_back(first.slot);
    filled_.pop_front();
    readOfFirst_ = 0;
  }
  poke = freed_.size() * 2 >= options_.slots;
  return taken;
}

void MessageStream::finish() {
  const std::lock_guard lock(mutex_);
  finishAsked_ = true;
}

bool MessageStream::ended() const {
  const std::lock_guard lock(mutex_);
  return ended_;
}

bool MessageStream::finished() const {
  const std::lock_guard lock(mutex_);
  return finished_;
}

} // namespace mooncake::rdma
