#include "fake_provider.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace mooncake::rdma::test {

struct FakeProvider::Context : ibv_context {
  FakeProvider *owner;
};

struct FakeProvider::Pair : ibv_qp {
  // Begun, not ended.
  std::deque<uint64_t> sent;
  std::deque<uint64_t> received;
  // Where what is received goes, in the same order; nothing for those that take no bytes.
  std::deque<ibv_sge> places;
  uint32_t peer = 0;
};

namespace {

constexpr int kCompletions = 1024;

int readable() { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

void makeReadable(int fd) { eventfd_write(fd, 1); }

} // namespace

// The functions that the core calls. What carries no context finds the one provider that there is.
struct FakeProvider::Table {
  static inline FakeProvider *current = nullptr;

  static FakeProvider &of(ibv_context *context) { return *static_cast<Context *>(context)->owner; }

  static ibv_device **list(int *count) {
    *count = 1;
    return current->list_;
  }
  static void freeList(ibv_device **) {}
  static const char *name(ibv_device *) { return kName; }
  static ibv_context *open(ibv_device *) { return current->context_.get(); }
  static int close(ibv_context *) { return 0; }

  static int queryDevice(ibv_context *, ibv_device_attr *limits) {
    *limits = {};
    limits->phys_port_cnt = 1;
    limits->max_cqe = kCompletions;
    limits->max_qp_rd_atom = limits->max_qp_init_rd_atom = 16;
    return 0;
  }
  static int queryPort(ibv_context *context, uint8_t, _compat_ibv_port_attr *given) {
    auto *port = reinterpret_cast<ibv_port_attr *>(given);
    port->state = IBV_PORT_ACTIVE;
    port->link_layer = IBV_LINK_LAYER_ETHERNET;
    port->active_mtu = IBV_MTU_4096;
    FakeProvider &provider = of(context);
    const std::lock_guard lock(provider.mutex_);
    port->gid_tbl_len = static_cast<int>(provider.gids_.size());
    return 0;
  }
  static ssize_t gidTable(ibv_context *context, ibv_gid_entry *entries, size_t most, uint32_t, size_t) {
    FakeProvider &provider = of(context);
    const std::lock_guard lock(provider.mutex_);
    if (provider.gids_.size() > most) return -EINVAL; // As the kernel does.
    std::copy(provider.gids_.begin(), provider.gids_.end(), entries);
    return static_cast<ssize_t>(provider.gids_.size());
  }

  static ibv_pd *allocPd(ibv_context *context) {
    current->pd_.context = context;
    return &current->pd_;
  }
  static int deallocPd(ibv_pd *) { return 0; }
  static ibv_mr *regMr(ibv_pd *pd, void *address, size_t lengthBytes, int) {
    FakeProvider &provider = of(pd->context);
    const std::lock_guard lock(provider.mutex_);
    provider.counts_.memoryRegions++;
    return new ibv_mr{pd->context, pd, address, lengthBytes, 0, 1, 1};
  }
  static int deregMr(ibv_mr *mr) {
    FakeProvider &provider = of(mr->context);
    const std::lock_guard lock(provider.mutex_);
    provider.counts_.memoryRegions--;
    delete mr;
    return 0;
  }

  static ibv_comp_channel *createChannel(ibv_context *) { return &current->channel_; }
  static int destroyChannel(ibv_comp_channel *) { return 0; }
  static ibv_cq *createCq(ibv_context *context, int depth, void *, ibv_comp_channel *channel, int) {
    current->cq_.context = context;
    current->cq_.channel = channel;
    current->cq_.cqe = depth;
    return &current->cq_;
  }
  static int destroyCq(ibv_cq *) { return 0; }
  static int poll(ibv_cq *cq, int most, ibv_wc *completions) {
    FakeProvider &provider = of(cq->context);
    const std::lock_guard lock(provider.mutex_);
    provider.counts_.polls++;
    int count = 0;
    for (; count < most && !provider.completions_.empty(); count++) {
      completions[count] = provider.completions_.front();
      provider.completions_.pop_front();
    }
    return count;
  }
  static int requestBell(ibv_cq *cq, int) {
    FakeProvider &provider = of(cq->context);
    const std::lock_guard lock(provider.mutex_);
    provider.armed_ = true;
    return provider.bellsRefused_ ? EIO : 0;
  }
  static int takeBell(ibv_comp_channel *, ibv_cq **cq, void **) {
    const std::lock_guard lock(current->mutex_);
    current->counts_.descriptorReads++;
    eventfd_t ignored;
    *cq = &current->cq_;
    if (current->channelBroken_) errno = EIO;
    return current->channelBroken_ ? -1 : eventfd_read(current->channel_.fd, &ignored);
  }
  static void ackBells(ibv_cq *, unsigned) {}

  static ibv_qp *createQp(ibv_pd *pd, ibv_qp_init_attr *) {
    FakeProvider &provider = of(pd->context);
    const std::lock_guard lock(provider.mutex_);
    if (provider.pairs_.size() >= provider.pairsMax_) {
      errno = ENOMEM;
      return nullptr;
    }
    auto pair = std::make_unique<Pair>();
    pair->context = pd->context;
    pair->state = IBV_QPS_RESET;
    pair->qp_num = provider.nextNumber_++;
    Pair *made = pair.get();
    provider.pairs_[made->qp_num] = std::move(pair);
    return made;
  }
  static int modifyQp(ibv_qp *qp, ibv_qp_attr *attributes, int) {
    FakeProvider &provider = of(qp->context);
    std::unique_lock lock(provider.mutex_);
    if (attributes->qp_state == IBV_QPS_RTR) {
      provider.counts_.connecting++;
      provider.changed_.wait(lock, [&provider] { return !provider.connectsHeld_; });
      provider.counts_.connecting--;
      static_cast<Pair &>(*qp).peer = attributes->dest_qp_num;
    }
    qp->state = attributes->qp_state;
    if (qp->state == IBV_QPS_ERR) provider.flush(static_cast<Pair &>(*qp));
    return 0;
  }
  static int destroyQp(ibv_qp *qp) {
    FakeProvider &provider = of(qp->context);
    const std::lock_guard lock(provider.mutex_);
    provider.pairs_.erase(qp->qp_num);
    return 0;
  }
  static int postSend(ibv_qp *qp, ibv_send_wr *first, ibv_send_wr **bad) {
    FakeProvider &provider = of(qp->context);
    const std::lock_guard lock(provider.mutex_);
    return provider.post(static_cast<Pair &>(*qp), first, bad);
  }
  static int postReceive(ibv_qp *qp, ibv_recv_wr *request, ibv_recv_wr **) {
    FakeProvider &provider = of(qp->context);
    const std::lock_guard lock(provider.mutex_);
    auto &pair = static_cast<Pair &>(*qp);
    pair.received.push_back(request->wr_id);
    pair.places.push_back(request->num_sge > 0 ? request->sg_list[0] : ibv_sge{});
    if (pair.state == IBV_QPS_ERR) provider.flush(pair);
    return 0;
  }

  static int takeEvent(ibv_context *context, ibv_async_event *event) {
    FakeProvider &provider = of(context);
    const std::lock_guard lock(provider.mutex_);
    provider.counts_.descriptorReads++;
    if (!provider.events_.empty()) {
      event->event_type = provider.events_.front();
      provider.events_.pop_front();
      return 0;
    }
    eventfd_t ignored;
    if (!provider.eventsBroken_) eventfd_read(context->async_fd, &ignored);
    errno = provider.eventsBroken_ ? EIO : EAGAIN;
    return -1;
  }
  static void ackEvent(ibv_async_event *) {}
  static const char *statusText(ibv_wc_status) { return "a status"; }
  static const char *eventText(ibv_event_type) { return "an event"; }

  static Verbs make() {
    Verbs verbs{};
    verbs.getDeviceList = list;
    verbs.freeDeviceList = freeList;
    verbs.getDeviceName = name;
    verbs.openDevice = open;
    verbs.closeDevice = close;
    verbs.queryDevice = queryDevice;
    verbs.queryPortOld = queryPort;
    verbs.queryGidTable = gidTable;
    verbs.allocPd = allocPd;
    verbs.deallocPd = deallocPd;
    verbs.regMr = regMr;
    verbs.deregMr = deregMr;
    verbs.createCompChannel = createChannel;
    verbs.destroyCompChannel = destroyChannel;
    verbs.createCq = createCq;
    verbs.destroyCq = destroyCq;
    verbs.getCqEvent = takeBell;
    verbs.ackCqEvents = ackBells;
    verbs.createQp = createQp;
    verbs.modifyQp = modifyQp;
    verbs.destroyQp = destroyQp;
    verbs.getAsyncEvent = takeEvent;
    verbs.ackAsyncEvent = ackEvent;
    verbs.wcStatusText = statusText;
    verbs.eventTypeText = eventText;
    return verbs;
  }
};

FakeProvider::FakeProvider()
    : verbs_(std::make_shared<const Verbs>(Table::make())), context_(std::make_unique<Context>()) {
  Table::current = this;
  context_->owner = this;
  context_->async_fd = readable();
  context_->ops.poll_cq = Table::poll;
  context_->ops.req_notify_cq = Table::requestBell;
  context_->ops.post_send = Table::postSend;
  context_->ops.post_recv = Table::postReceive;
  channel_.fd = readable();
  ibv_gid_entry gid{};
  gid.gid.raw[10] = gid.gid.raw[11] = 0xff;
  gid.port_num = 1;
  gid.gid_type = IBV_GID_TYPE_ROCE_V2;
  gids_.push_back(gid);
}

FakeProvider::~FakeProvider() {
  ::close(context_->async_fd);
  ::close(channel_.fd);
  Table::current = nullptr;
}

void FakeProvider::withhold(bool on) {
  const std::lock_guard lock(mutex_);
  withheld_ = on;
}

void FakeProvider::keepFlushes(bool on) {
  const std::lock_guard lock(mutex_);
  flushesKept_ = on;
}

void FakeProvider::refuseListAfter(int taken) {
  const std::lock_guard lock(mutex_);
  refuseAfter_ = taken;
}

void FakeProvider::refuseBells() {
  const std::lock_guard lock(mutex_);
  bellsRefused_ = true;
}

void FakeProvider::breakChannel() {
  const std::lock_guard lock(mutex_);
  channelBroken_ = true;
  makeReadable(channel_.fd);
}

void FakeProvider::breakEvents() {
  const std::lock_guard lock(mutex_);
  eventsBroken_ = true;
  makeReadable(context_->async_fd);
}

void FakeProvider::raise(ibv_event_type type) {
  const std::lock_guard lock(mutex_);
  events_.push_back(type);
  makeReadable(context_->async_fd);
}

void FakeProvider::complete(uint64_t id, ibv_wc_status status) {
  const std::lock_guard lock(mutex_);
  finish(id, status);
}

void FakeProvider::limitQueuePairs(size_t most) {
  const std::lock_guard lock(mutex_);
  pairsMax_ = most;
}

void FakeProvider::holdConnects(bool on) {
  const std::lock_guard lock(mutex_);
  connectsHeld_ = on;
  changed_.notify_all();
}

void FakeProvider::setGids(std::vector<ibv_gid_entry> entries) {
  const std::lock_guard lock(mutex_);
  gids_ = std::move(entries);
}

FakeProvider::Counts FakeProvider::counts() {
  const std::lock_guard lock(mutex_);
  Counts counts = counts_;
  counts.queuePairs = pairs_.size();
  return counts;
}

std::vector<uint64_t> FakeProvider::pending() {
  const std::lock_guard lock(mutex_);
  std::vector<uint64_t> ids;
  for (const auto &[number, pair] : pairs_) ids.insert(ids.end(), pair->sent.begin(), pair->sent.end());
  return ids;
}

// ---- with the lock

void FakeProvider::ring() {
  if (armed_ && !bellsRefused_) makeReadable(channel_.fd);
  armed_ = false;
}

void FakeProvider::finish(uint64_t id, ibv_wc_status status) {
  ibv_wc completion{};
  completion.wr_id = id;
  completion.status = status;
  completions_.push_back(completion);
  ring();
}

int FakeProvider::post(Pair &pair, ibv_send_wr *first, ibv_send_wr **bad) {
  for (ibv_send_wr *each = first; each != nullptr; each = each->next) {
    if (refuseAfter_ == 0) {
      refuseAfter_ = -1;
      *bad = each;
      return ENOMEM;
    }
    if (refuseAfter_ > 0) refuseAfter_--;
    if (pair.state == IBV_QPS_ERR || withheld_) pair.sent.push_back(each->wr_id);
    else if (each->opcode == IBV_WR_SEND_WITH_IMM) {
      const bool taken = send(pair, *each);
      if (!taken || (each->send_flags & IBV_SEND_SIGNALED) != 0) {
        finish(each->wr_id, taken ? IBV_WC_SUCCESS : IBV_WC_RNR_RETRY_EXC_ERR);
      }
    } else {
      auto *here = reinterpret_cast<uint8_t *>(each->sg_list->addr);
      auto *there = reinterpret_cast<uint8_t *>(each->wr.rdma.remote_addr);
      if (each->opcode == IBV_WR_RDMA_READ) std::memcpy(here, there, each->sg_list->length);
      else std::memcpy(there, here, each->sg_list->length);
      if ((each->send_flags & IBV_SEND_SIGNALED) != 0) finish(each->wr_id, IBV_WC_SUCCESS);
    }
  }
  if (pair.state == IBV_QPS_ERR) flush(pair);
  return 0;
}

// False where the peer has no receive.
bool FakeProvider::send(Pair &pair, const ibv_send_wr &request) {
  const auto found = pairs_.find(pair.peer);
  if (found == pairs_.end() || found->second->received.empty()) return false;
  Pair &peer = *found->second;
  ibv_wc completion{};
  completion.wr_id = peer.received.front();
  completion.opcode = IBV_WC_RECV;
  completion.wc_flags = IBV_WC_WITH_IMM;
  completion.imm_data = request.imm_data;
  if (request.num_sge > 0) {
    completion.byte_len = request.sg_list->length;
    std::memcpy(reinterpret_cast<void *>(peer.places.front().addr), reinterpret_cast<void *>(request.sg_list->addr),
                completion.byte_len);
  }
  peer.received.pop_front();
  peer.places.pop_front();
  completions_.push_back(completion);
  ring();
  return true;
}

void FakeProvider::flush(Pair &pair) {
  if (flushesKept_) return;
  for (std::deque<uint64_t> *ids : {&pair.sent, &pair.received}) {
    for (const uint64_t id : *ids) finish(id, IBV_WC_WR_FLUSH_ERR);
    ids->clear();
  }
  pair.places.clear();
}

} // namespace mooncake::rdma::test
