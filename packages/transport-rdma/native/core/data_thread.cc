#include "data_thread.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace mooncake::rdma {

namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using Clock = std::chrono::steady_clock;

constexpr size_t kLandings = 256;
// Of one call to the device: more would keep completions waiting, fewer would ring the doorbell too often.
constexpr uint32_t kChainMax = 8;
// How long flushed work requests may take to come back before their queue pairs are destroyed all the same.
constexpr auto kDrainMax = milliseconds(1000);
// Until a window whose memory is being registered is looked at again, and for how long at all.
constexpr auto kLookAgain = nanoseconds(200'000);
constexpr auto kLookMax = milliseconds(10'000);
// A window that opens just now may be seen half.
constexpr int kMixedLooksMax = 3;

} // namespace

DataThread::DataThread(Device &device, Outbox &outbox, TaskThread &keeper)
    : DeviceThread(device, outbox), keeper_(keeper), landings_(kLandings) {}

DataThread::~DataThread() {
  stop();
  if (landingMr_ != nullptr) device_.deregister(landingMr_);
}

bool DataThread::start(std::string &problem) { return prepareLandings(problem) && DeviceThread::start(problem); }

bool DataThread::prepareLandings(std::string &problem) {
  landingMr_ = device_.registerMemory(landings_.data(), landings_.size() * sizeof(WindowSlot), IBV_ACCESS_LOCAL_WRITE);
  if (landingMr_ == nullptr) {
    problem = std::string("ibv_reg_mr: ") + std::strerror(errno);
    return false;
  }
  for (int i = 0; i < static_cast<int>(kLandings); i++) freeLandings_.push_back(i);
  return true;
}

void DataThread::add(std::shared_ptr<Endpoint> endpoint, std::function<void()> ready) {
  enqueue([this, endpoint = std::move(endpoint), ready = std::move(ready)] {
    for (const QueuePair &pair : endpoint->pairs) bySerial_[pair.serial] = endpoint.get();
    endpoints_[endpoint->id] = endpoint;
    endpointCount_ = endpoints_.size();
    ready();
  });
}

void DataThread::connected(uint32_t id) {
  enqueue([this, id] {
    const auto found = endpoints_.find(id);
    if (found == endpoints_.end() || found->second->state != EndpointState::fresh) return;
    found->second->state = EndpointState::connected;
    if (isDead()) breakDown(*found->second, IBV_WC_FATAL_ERR);
  });
}

void DataThread::close(uint32_t id) {
  enqueue([this, id] {
    const auto found = endpoints_.find(id);
    if (found == endpoints_.end()) return;
    found->second->closeAsked = true;
    breakDown(*found->second, IBV_WC_WR_FLUSH_ERR);
  });
}

void DataThread::submit(std::vector<OperationOrder> orders) {
  enqueue([this, orders = std::make_shared<std::vector<OperationOrder>>(std::move(orders))] {
    // Never joined to checks of earlier batches: those may have looked before the window was shut.
    std::vector<Check *> checks;
    for (OperationOrder &order : *orders) accept(order, checks);
    for (Check *check : checks) {
      Endpoint &endpoint = *endpoints_[check->endpoint];
      endpoint.checksWaiting.push_back(check);
      list(endpoint);
    }
  });
}

void DataThread::cancel(std::vector<double> operations) {
  enqueue([this, operations = std::move(operations)] {
    for (const double id : operations) {
      const auto found = operations_.find(id);
      if (found == operations_.end()) continue;
      auto &[operation, endpoint] = found->second;
      operation->cancelled = true;
      if (endpoint->broken) continue;
      if (operation->checking) {
        for (const auto &check : checks_) std::erase(check->operations, operation.get());
      } else {
        std::erase(endpoint->waiting, operation.get());
      }
      if (operation->slicesInFlight == 0) end(*operation, *endpoint, kCancelled);
    }
  });
}

void DataThread::breakAllDown(int32_t status) {
  for (auto &[id, endpoint] : endpoints_) breakDown(*endpoint, status);
}

DataThread::TimePoint DataThread::nextTend() const {
  TimePoint next = TimePoint::max();
  if (tended_ > 0) {
    for (const auto &[id, endpoint] : endpoints_) {
      if (endpoint->state == EndpointState::draining) next = std::min(next, endpoint->drainDeadline);
    }
  }
  for (const auto &check : checks_) {
    if (check->again != TimePoint{}) next = std::min(next, check->again);
  }
  return next;
}

// ---- operations and their checks

void DataThread::accept(OperationOrder &order, std::vector<Check *> &checks) {
  const auto found = endpoints_.find(order.endpoint);
  if (found == endpoints_.end() || found->second->state != EndpointState::connected) {
    ended_.push_back({order.operation.id, kEndpointGone});
    return;
  }
  Endpoint &endpoint = *found->second;
  auto owned = std::make_unique<Operation>(std::move(order.operation));
  Operation *operation = owned.get();
  operations_.emplace(operation->id, std::pair(std::move(owned), &endpoint));
  operationCount_ = operations_.size();
  endpoint.operations.insert(operation);
  const auto same = std::find_if(checks.begin(), checks.end(), [&order](const Check *check) {
    return check->endpoint == order.endpoint && check->slot == order.slot && check->token == order.token;
  });
  if (same != checks.end()) {
    (*same)->operations.push_back(operation);
    return;
  }
  auto check = std::make_unique<Check>();
  check->endpoint = order.endpoint;
  check->slot = order.slot;
  check->token = order.token;
  check->operations.push_back(operation);
  check->deadline = Clock::now() + kLookMax;
  checks.push_back(check.get());
  checks_.push_back(std::move(check));
}

void DataThread::onCheckRead(Check &check) {
  const WindowSlot &slot = landings_[static_cast<size_t>(check.landing)];
  const Token seen{slot.tokenLow.load(), slot.tokenHigh.load()};
  freeLandings_.push_back(check.landing);
  check.landing = -1;
  const WindowState state = slot.state.load();
  const bool half = seen.low == check.token.low;
  // The two lines of the slot may have been read at different times: a window that opens is looked at once more.
  const bool mixed = half && state == WindowState::open && seen.high != check.token.high;
  const bool again = half && (state == WindowState::registering || (mixed && check.mixedLooks++ < kMixedLooksMax));
  const TimePoint now = Clock::now();
  if (check.operations.empty()) endCheck(check); // All of them were cancelled.
  else if (again && now < check.deadline) check.again = now + kLookAgain;
  else resolve(check, seen, state, slot);
}

void DataThread::resolve(Check &check, const Token &seen, WindowState state, const WindowSlot &slot) {
  Endpoint &endpoint = *endpoints_[check.endpoint];
  const uint32_t rkey = endpoint.remote.deviceNumber < kDevicesMax ? slot.rkeys[endpoint.remote.deviceNumber] : 0;
  const bool known = seen == check.token && state == WindowState::open;
  const bool refused = seen.low == check.token.low && (state == WindowState::refused || state == WindowState::registering);
  for (Operation *operation : check.operations) {
    operation->checking = false;
    const uint32_t wanted = operation->kind == OperationKind::read ? kMayRead : kMayWrite;
    const bool inside = operation->wholeOffset <= slot.lengthBytes &&
                        operation->wholeBytes <= slot.lengthBytes - operation->wholeOffset;
    if (refused || (known && rkey == 0)) end(*operation, endpoint, kNotRegisteredThere);
    else if (!known || (slot.access & wanted) == 0 || !inside) end(*operation, endpoint, kAccessDenied);
    else {
      operation->remoteAddress = slot.address + operation->remoteOffset;
      operation->remoteKey = rkey;
      endpoint.waiting.push_back(operation);
    }
  }
  list(endpoint);
  endCheck(check);
}

void DataThread::endCheck(Check &check) {
  if (check.landing >= 0) freeLandings_.push_back(check.landing);
  checks_.remove_if([&check](const std::unique_ptr<Check> &each) { return each.get() == &check; });
}

void DataThread::sliceEnded(Operation &operation, Endpoint &endpoint, int32_t status) {
  operation.slicesInFlight--;
  if (status != 0 && (operation.status == 0 || operation.status == IBV_WC_WR_FLUSH_ERR)) operation.status = status;
  if (operation.slicesInFlight > 0 || endpoint.broken) return;
  if (operation.postedBytes == operation.lengthBytes) end(operation, endpoint, kDone);
  else if (operation.cancelled) end(operation, endpoint, kCancelled);
}

void DataThread::end(Operation &operation, Endpoint &endpoint, int32_t status) {
  const double id = operation.id;
  ended_.push_back({id, status});
  endpoint.operations.erase(&operation);
  operations_.erase(id);
  operationCount_ = operations_.size();
}

// ---- completions

void DataThread::onCompletion(const ibv_wc &completion) {
  const auto serial = static_cast<uint32_t>(completion.wr_id >> 32);
  const auto number = static_cast<uint32_t>(completion.wr_id);
  const auto found = bySerial_.find(serial);
  if (found == bySerial_.end()) return; // Of a queue pair that is gone.
  Endpoint &endpoint = *found->second;
  const auto pair = std::find_if(endpoint.pairs.begin(), endpoint.pairs.end(),
                                 [serial](const QueuePair &each) { return each.serial == serial; });
  if ((number & kReceiveBit) != 0) {
    pair->receivePosted = false;
    breakDown(endpoint, completion.status);
    return;
  }
  // One that has ended already, or never was, must not end those that are on their way.
  const bool awaited = pair->awaits(number);
  if (awaited) retireBefore(*pair, endpoint, number);
  if (completion.status != IBV_WC_SUCCESS) breakDown(endpoint, completion.status);
  if (awaited) retire(*pair, endpoint, completion.status);
}

// One completion stands for the requests before it: those went well.
void DataThread::retireBefore(QueuePair &pair, Endpoint &endpoint, uint32_t number) {
  while (pair.retired != number) retire(pair, endpoint, kDone);
}

void DataThread::retire(QueuePair &pair, Endpoint &endpoint, int32_t status) {
  const Posted posted = pair.inFlight.front();
  pair.inFlight.pop_front();
  pair.retired = (pair.retired + 1) & kNumberMask;
  if (posted.operation != nullptr) sliceEnded(*posted.operation, endpoint, status);
  else if (posted.check != nullptr && status == kDone && !endpoint.broken) onCheckRead(*posted.check);
}

// ---- posting

void DataThread::list(Endpoint &endpoint) {
  if (!endpoint.listed) listed_.push_back(&endpoint);
  endpoint.listed = true;
}

// Most endpoints are idle, or passive: only those with something to post are looked at.
void DataThread::postAll() {
  for (size_t i = 0; i < listed_.size();) {
    Endpoint &endpoint = *listed_[i];
    if (endpoint.state == EndpointState::connected) post(endpoint);
    endpoint.listed = endpoint.state == EndpointState::connected && endpoint.hasSomethingToPost();
    if (endpoint.listed) i++;
    else listed_.erase(listed_.begin() + static_cast<ptrdiff_t>(i));
  }
}

// Of those for data.
QueuePair *DataThread::roomiest(Endpoint &endpoint) {
  QueuePair *best = nullptr;
  const size_t count = endpoint.pairs.size() - 1;
  for (size_t i = 0; i < count; i++) {
    QueuePair &pair = endpoint.pairs[1 + (endpoint.nextPair + i) % count];
    if (!pair.hasRoom()) continue;
    if (best == nullptr || pair.inFlight.size() < best->inFlight.size()) best = &pair;
  }
  endpoint.nextPair++;
  return best;
}

void DataThread::post(Endpoint &endpoint) {
  QueuePair &looks = endpoint.pairs.front();
  while (!endpoint.checksWaiting.empty() && !freeLandings_.empty() && looks.hasRoom()) {
    Check *check = endpoint.checksWaiting.front();
    endpoint.checksWaiting.pop_front();
    postCheck(endpoint, looks, *check);
    if (endpoint.broken) return;
  }
  while (!endpoint.waiting.empty()) {
    QueuePair *pair = roomiest(endpoint);
    if (pair == nullptr || !postChain(endpoint, *pair)) return;
  }
}

void DataThread::postCheck(Endpoint &endpoint, QueuePair &pair, Check &check) {
  if (check.slot >= endpoint.remote.tableSlots) {
    const WindowSlot none{};
    resolve(check, Token{}, WindowState::shut, none);
    return;
  }
  check.landing = freeLandings_.back();
  freeLandings_.pop_back();
  ibv_sge landing{reinterpret_cast<uint64_t>(&landings_[static_cast<size_t>(check.landing)]), sizeof(WindowSlot),
                  landingMr_->lkey};
  ibv_send_wr request{};
  request.wr_id = pair.idOf(pair.nextNumber());
  request.sg_list = &landing;
  request.num_sge = 1;
  request.opcode = IBV_WR_RDMA_READ;
  request.send_flags = IBV_SEND_SIGNALED;
  request.wr.rdma.remote_addr = endpoint.remote.tableAddress + static_cast<uint64_t>(check.slot) * sizeof(WindowSlot);
  request.wr.rdma.rkey = endpoint.remote.tableRkey;
  pair.inFlight.push_back({nullptr, &check});
  give(endpoint, pair, &request, 1);
}

// The next slices of what waits, as one list. False where nothing can be posted any more.
bool DataThread::postChain(Endpoint &endpoint, QueuePair &pair) {
  std::array<ibv_send_wr, kChainMax> requests;
  std::array<ibv_sge, kChainMax> pieces;
  const uint32_t room = pair.depth - static_cast<uint32_t>(pair.inFlight.size());
  uint32_t count = 0;
  while (count < std::min(room, kChainMax) && !endpoint.waiting.empty()) {
    Operation &operation = *endpoint.waiting.front();
    const uint64_t at = operation.postedBytes;
    const auto sliceBytes =
        static_cast<uint32_t>(std::min<uint64_t>(device_.options().sliceBytes, operation.lengthBytes - at));
    pieces[count] = {reinterpret_cast<uint64_t>(operation.local->base()) + operation.localOffset + at, sliceBytes,
                     operation.local->localKey()};
    ibv_send_wr &request = requests[count];
    request = {};
    request.wr_id = pair.idOf(pair.nextNumber());
    request.sg_list = &pieces[count];
    request.num_sge = 1;
    const bool write = operation.kind == OperationKind::write;
    request.opcode = write ? IBV_WR_RDMA_WRITE : IBV_WR_RDMA_READ;
    if (write && sliceBytes <= pair.inlineBytesMax) request.send_flags = IBV_SEND_INLINE;
    request.wr.rdma.remote_addr = operation.remoteAddress + at;
    request.wr.rdma.rkey = operation.remoteKey;
    if (count > 0) requests[count - 1].next = &request;
    pair.inFlight.push_back({&operation, nullptr});
    operation.slicesInFlight++;
    operation.postedBytes += sliceBytes;
    if (operation.postedBytes == operation.lengthBytes) endpoint.waiting.pop_front();
    count++;
  }
  if (count == 0) return false;
  requests[count - 1].send_flags |= IBV_SEND_SIGNALED;
  return give(endpoint, pair, requests.data(), count);
}

// Hands a list to the device. What it does not take breaks the endpoint, as a failed work request does.
bool DataThread::give(Endpoint &endpoint, QueuePair &pair, ibv_send_wr *first, uint32_t count) {
  postedCalls_++;
  ibv_send_wr *bad = nullptr;
  if (ibv_post_send(pair.qp, first, &bad) == 0) return true;
  uint32_t given = 0;
  for (const ibv_send_wr *each = first; each != nullptr && each != bad; each = each->next) given++;
  breakDown(endpoint, IBV_WC_LOC_QP_OP_ERR);
  for (uint32_t i = given; i < count; i++) {
    const Posted posted = pair.inFlight.back();
    pair.inFlight.pop_back();
    if (posted.operation != nullptr) sliceEnded(*posted.operation, endpoint, IBV_WC_LOC_QP_OP_ERR);
  }
  if (given > 0) postMarker(pair);
  return false;
}

// What was given of a refused list asks for no completion: where it ends well, nobody would know that it has. A work
// request behind it, on a queue pair that fails everything, tells.
void DataThread::postMarker(QueuePair &pair) {
  ibv_send_wr request{};
  request.wr_id = pair.idOf(pair.nextNumber());
  request.opcode = IBV_WR_RDMA_WRITE;
  request.send_flags = IBV_SEND_SIGNALED;
  ibv_send_wr *bad = nullptr;
  if (ibv_post_send(pair.qp, &request, &bad) == 0) pair.inFlight.push_back({nullptr, nullptr});
}

// ---- the end of an endpoint

void DataThread::breakDown(Endpoint &endpoint, int32_t status) {
  if (endpoint.cause == 0 || endpoint.cause == IBV_WC_WR_FLUSH_ERR) endpoint.cause = status;
  if (endpoint.broken) return;
  endpoint.broken = true;
  endpoint.state = EndpointState::draining;
  endpoint.drainDeadline = Clock::now() + kDrainMax;
  tended_++;
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_ERR;
  for (QueuePair &pair : endpoint.pairs) device_.verbs().modifyQp(pair.qp, &attributes, IBV_QP_STATE);
  if (!endpoint.closeAsked) {
    outbox_.add(Event{.kind = EventKind::broken,
                      .subject = endpoint.id,
                      .status = status,
                      .text = device_.verbs().wcStatusText(static_cast<ibv_wc_status>(status))});
  }
}

bool DataThread::tend(TimePoint now) {
  if (!checks_.empty()) lookAgain(now);
  if (tended_ > 0) destroyRested(now);
  postAll();
  return false; // What is posted will end, and what is destroyed will be told.
}

void DataThread::lookAgain(TimePoint now) {
  for (const auto &check : checks_) {
    if (check->again == TimePoint{} || check->again > now) continue;
    check->again = TimePoint{};
    const auto found = endpoints_.find(check->endpoint);
    if (found == endpoints_.end() || found->second->broken) continue;
    found->second->checksWaiting.push_back(check.get());
    list(*found->second);
  }
}

void DataThread::destroyRested(TimePoint now) {
  std::vector<Endpoint *> rested;
  for (auto &[id, endpoint] : endpoints_) {
    if (endpoint->state != EndpointState::draining) continue;
    const bool drained =
        std::all_of(endpoint->pairs.begin(), endpoint->pairs.end(), [](const QueuePair &pair) { return pair.drained(); });
    if (drained || now >= endpoint->drainDeadline) rested.push_back(endpoint.get());
  }
  for (Endpoint *endpoint : rested) destroy(*endpoint);
}

// Its queue pairs have come to rest, or never will: destroying them is what makes sure that nothing is touched.
void DataThread::destroy(Endpoint &endpoint) {
  endpoint.state = EndpointState::destroying;
  for (const QueuePair &pair : endpoint.pairs) bySerial_.erase(pair.serial);
  keeper_.post([this, shared = endpoints_[endpoint.id]] {
    shared->destroy();
    enqueue([this, shared] { settle(*shared); });
  });
}

void DataThread::settle(Endpoint &endpoint) {
  for (auto each = checks_.begin(); each != checks_.end();) {
    Check &check = **each;
    if (check.landing >= 0 && check.endpoint == endpoint.id) freeLandings_.push_back(check.landing);
    each = check.endpoint == endpoint.id ? checks_.erase(each) : std::next(each);
  }
  const std::vector<Operation *> left(endpoint.operations.begin(), endpoint.operations.end());
  for (Operation *operation : left) {
    // One whose last slice ended well just before was done.
    const bool whole = operation->postedBytes == operation->lengthBytes && operation->slicesInFlight == 0 &&
                       operation->status == 0 && !operation->checking;
    const int32_t status = whole ? kDone : operation->status != 0 ? operation->status : IBV_WC_WR_FLUSH_ERR;
    end(*operation, endpoint, operation->cancelled && !whole ? kCancelled : status);
  }
  outbox_.add(ended_);
  outbox_.add(Event{.kind = EventKind::closed, .subject = endpoint.id, .status = endpoint.cause});
  tended_--;
  if (endpoint.listed) std::erase(listed_, &endpoint);
  endpoints_.erase(endpoint.id);
  endpointCount_ = endpoints_.size();
}

} // namespace mooncake::rdma
