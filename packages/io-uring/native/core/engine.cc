#include "engine.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>

#include "inline_ring.h"
#include "ring_thread.h"
#include "thread_executor.h"

namespace mooncake::io {

namespace {

constexpr size_t kOperationsMax = 1u << 20;

// True for an integer from 0 to `max`; false for NaN.
bool isCount(double value, uint64_t max) {
  return value >= 0 && value <= static_cast<double>(max) && value == std::floor(value);
}

} // namespace

Engine::~Engine() { shutDown(); }

OpenResult Engine::open(const EngineOptions &options) {
  if (doorbell() < 0) return {"eventfd", doorbell()};
  if (!options.uring) {
    auto executor = std::make_unique<ThreadExecutor>(completions_);
    const int error = executor->open(options.fileThreads);
    if (error != 0) return {"epoll_create1", error};
    rings_.push_back({std::move(executor), {}});
    return {"", 0};
  }
  auto inlineRing = std::make_unique<InlineRing>(completions_);
  if (const int error = inlineRing->open(options.entries); error != 0) return {"io_uring_setup", error};
  rings_.push_back({std::move(inlineRing), {}});
  for (unsigned i = 0; i < options.bulkThreads; i++) {
    auto bulk = std::make_unique<RingThread>(completions_);
    if (const int error = bulk->open(options.entries); error != 0) return {"io_uring_setup", error};
    rings_.push_back({std::move(bulk), {}});
  }
  return {"", 0};
}

Operation *Engine::take(uint32_t ring, Opcode opcode, int fd) {
  if (free_.empty()) {
    if (operations_.size() == kOperationsMax) return nullptr;
    const auto index = static_cast<uint32_t>(operations_.size());
    operations_.emplace_back().index = index;
    free_.push_back(index);
  }
  Operation &operation = operations_[free_.back()];
  free_.pop_back();
  operation.reset(opcode, fd);
  operation.ring = ring;
  operation.live = true;
  return &operation;
}

void Engine::recycle(Operation &operation) {
  operation.live = false;
  for (const uint32_t slot : operation.slots) memory_.letGo(slot);
  operation.slots.clear();
  free_.push_back(operation.index);
}

int64_t Engine::prepareTransfer(uint32_t ring, Opcode opcode, int fd, uint32_t flags, uint64_t fileOffset,
                                const double *vec, size_t pieceCount) {
  Operation *operation = take(ring, opcode, fd);
  if (operation == nullptr) return kTooManyOperations;
  operation->flags = flags;
  operation->setFileOffset(fileOffset);
  for (size_t i = 0; i < pieceCount; i++, vec += 3) {
    const Memory *memory = memory_.find(vec[0]);
    if (memory == nullptr || !isCount(vec[1], memory->lengthBytes) ||
        !isCount(vec[2], memory->lengthBytes - static_cast<uint64_t>(vec[1]))) {
      recycle(*operation);
      return memory == nullptr ? kUnknownSlot : kOutOfBounds;
    }
    operation->add(memory->base + static_cast<uint64_t>(vec[1]), static_cast<uint64_t>(vec[2]));
    const auto slot = static_cast<uint32_t>(vec[0]);
    // Most vectors stay in one slot: hold it once.
    if (!operation->slots.empty() && operation->slots.back() == slot) continue;
    memory_.hold(slot);
    operation->slots.push_back(slot);
  }
  // Engines differ in what they do with nothing to move; this way all of them say 0.
  if (operation->empty()) operation->opcode = Opcode::nop;
  rings_[ring].prepared.push_back(operation);
  return operation->index;
}

int64_t Engine::prepare(uint32_t ring, Opcode opcode, int fd, uint32_t flags, const SocketAddress *address) {
  Operation *operation = take(ring, opcode, fd);
  if (operation == nullptr) return kTooManyOperations;
  operation->flags = flags;
  if (address != nullptr) operation->address = *address;
  rings_[ring].prepared.push_back(operation);
  return operation->index;
}

int64_t Engine::prepareAllocate(uint32_t ring, int fd, uint64_t fileOffset, uint64_t lengthBytes) {
  Operation *operation = take(ring, Opcode::allocate, fd);
  if (operation == nullptr) return kTooManyOperations;
  operation->setFileOffset(fileOffset);
  operation->allocateBytes = lengthBytes;
  rings_[ring].prepared.push_back(operation);
  return operation->index;
}

void Engine::submit(uint32_t ring) {
  Ring &target = rings_[ring];
  submitted_ += target.prepared.size();
  if (!target.prepared.empty()) target.executor->submit(target.prepared);
}

void Engine::endPrepared(Operation &operation) {
  operation.fold(-ECANCELED);
  ended_.push_back(&operation);
  submitted_++;
  completions_.ring();
}

void Engine::cancel(uint32_t index) {
  if (index >= operations_.size() || !operations_[index].live) return;
  Operation &operation = operations_[index];
  OperationList &prepared = rings_[operation.ring].prepared;
  if (const auto found = std::find(prepared.begin(), prepared.end(), &operation); found != prepared.end()) {
    prepared.erase(found);
    endPrepared(operation);
  } else {
    rings_[operation.ring].executor->cancel(operation);
  }
}

void Engine::cancelAll() {
  for (Ring &ring : rings_) {
    for (Operation *operation : ring.prepared) endPrepared(*operation);
    ring.prepared.clear();
  }
  for (Operation &operation : operations_) {
    if (operation.live) rings_[operation.ring].executor->cancel(operation);
  }
}

void Engine::refreshEnded() {
  ended_.clear();
  delivered_ = 0;
  for (Ring &ring : rings_) ring.executor->reap(ended_);
  completions_.take(ended_);
}

bool Engine::hasEnded() {
  if (delivered_ == ended_.size()) refreshEnded();
  return delivered_ < ended_.size();
}

size_t Engine::roundsOf(size_t pairsMax) {
  return hasEnded() ? (ended_.size() - delivered_ + pairsMax - 1) / pairsMax : 0;
}

size_t Engine::drain(double *pairs, size_t pairsMax) {
  if (!hasEnded()) return 0;
  const size_t count = std::min(pairsMax, ended_.size() - delivered_);
  for (size_t i = 0; i < count; i++) {
    Operation &operation = *ended_[delivered_++];
    *pairs++ = operation.index;
    *pairs++ = static_cast<double>(operation.result);
    recycle(operation);
  }
  completed_ += count;
  return count;
}

EngineStats Engine::stats() const {
  uint64_t enters = 0;
  for (const Ring &ring : rings_) enters += ring.executor->enters();
  return {inFlight(), submitted_, completed_, memory_.attached(), enters};
}

void Engine::shutDown() {
  cancelAll();
  while (inFlight() > 0) {
    for (; delivered_ < ended_.size(); delivered_++) {
      Operation &operation = *ended_[delivered_];
      // Nobody will hear of this connection.
      if (operation.opcode == Opcode::accept && operation.result >= 0) close(static_cast<int>(operation.result));
      recycle(operation);
    }
    if (inFlight() == 0) break;
    // First look: a callback that could not run any more has silenced the doorbell, and taken nothing.
    refreshEnded();
    if (!ended_.empty()) continue;
    pollfd wait{doorbell(), POLLIN, 0};
    poll(&wait, 1, -1);
    completions_.silence();
  }
  memory_.releaseAll();
  rings_.clear();
}

} // namespace mooncake::io
