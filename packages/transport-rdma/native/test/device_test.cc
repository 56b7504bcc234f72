// What happens to operations when a device goes wrong. No software device does that, so its provider is made up.
#include <chrono>
#include <condition_variable>
#include <numeric>
#include <optional>

#include "../core/engine.h"
#include "check.h"
#include "fake_provider.h"

using namespace mooncake::rdma;
using mooncake::rdma::test::FakeProvider;

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr auto kDeadline = std::chrono::seconds(30);
// The limit of a drain, less what clocks may differ.
constexpr auto kDrainAtLeast = milliseconds(990);
constexpr uint64_t kSliceBytes = 4096;
constexpr uint32_t kDataPairs = 2;
constexpr uint32_t kActive = 1;
constexpr uint32_t kPassive = 2;
constexpr uint32_t kMemory = 9;
constexpr Token kToken{11, 12};

// Memory of the heap, so that the address sanitizer sees what comes after its end.
struct Memory {
  explicit Memory(size_t lengthBytes) : bytes(lengthBytes) {
    region.base = bytes.data();
    region.length_bytes = lengthBytes;
    region.owner = this;
    region.retain = [](mooncake_region *region) { static_cast<Memory *>(region->owner)->retained++; };
    region.release = [](mooncake_region *region) { static_cast<Memory *>(region->owner)->retained--; };
  }

  std::vector<uint8_t> bytes;
  std::atomic<int> retained{0};
  mooncake_region region{};
};

// A device, and what it has said so far.
class Fixture {
public:
  explicit Fixture(uint32_t completionsMax = 1024) : table_(std::make_shared<WindowTable>(16)) {
    DeviceOptions options{};
    options.name = FakeProvider::kName;
    options.port = 1;
    options.gidIndex = -1;
    options.mtuMax = IBV_MTU_4096;
    options.completionsMax = completionsMax;
    options.sliceBytes = kSliceBytes;
    options.spinNsMax = 20'000;
    std::string problem;
    const auto ring = [this] {
      const std::lock_guard lock(mutex_);
      rung_ = true;
      changed_.notify_one();
    };
    engine_ = Engine::open(provider.verbs(), options, table_, ring, problem);
    CHECK(engine_ != nullptr);
  }

  ~Fixture() {
    engine_.reset();
    const FakeProvider::Counts left = provider.counts();
    CHECK(left.queuePairs == 0 && left.memoryRegions == 0);
  }

  Engine &engine() { return *engine_; }

  // Whether it came before the deadline.
  template <typename Condition> bool until(Condition condition) {
    const auto deadline = Clock::now() + kDeadline;
    for (;;) {
      take();
      if (condition()) return true;
      std::unique_lock lock(mutex_);
      // Also what rings no bell, as counts do not.
      changed_.wait_for(lock, milliseconds(5), [this] { return rung_; });
      rung_ = false;
      if (Clock::now() > deadline) return false;
    }
  }

  size_t count(EventKind kind) {
    take();
    return static_cast<size_t>(std::count_if(events_.begin(), events_.end(),
                                             [kind](const Event &event) { return event.kind == kind; }));
  }

  const Event *event(EventKind kind, uint32_t subject) {
    take();
    for (const Event &event : events_) {
      if (event.kind == kind && event.subject == subject) return &event;
    }
    return nullptr;
  }

  std::optional<int32_t> status(double operation) {
    take();
    const auto found = statuses_.find(operation);
    return found == statuses_.end() ? std::nullopt : std::optional(found->second);
  }

  // Makes an endpoint. Its errno.
  int32_t create(uint32_t id, uint32_t depth = 8) {
    engine_->createEndpoint(id, kDataPairs, depth);
    CHECK(until([&] { return event(EventKind::created, id) != nullptr; }));
    return event(EventKind::created, id)->status;
  }

  void connect(uint32_t id, uint32_t to) {
    const std::vector<uint8_t> &bytes = event(EventKind::created, to)->bytes;
    engine_->connectEndpoint(id, *ConnectionInfo::decode(bytes.data(), bytes.size()));
  }

  // Two connected endpoints, memory that is known, and a window on other memory.
  void prepare(Memory &here, Memory &there) {
    CHECK(create(kActive) == 0 && create(kPassive, 1) == 0);
    connect(kActive, kPassive);
    connect(kPassive, kActive);
    engine_->registerMemory(kMemory, (here.retained++, &here.region), here.bytes.data(), here.bytes.size());
    CHECK(until([&] { return count(EventKind::connected) == 2 && count(EventKind::registered) == 1; }));
    slot_ = static_cast<uint32_t>(
        table_->add(kToken, {reinterpret_cast<uint64_t>(there.bytes.data()), there.bytes.size(), kMayRead | kMayWrite}));
    table_->publish(slot_, {7});
  }

  // All of the memory.
  void write(double id, uint64_t lengthBytes) {
    Operation operation{.id = id,
                        .kind = OperationKind::write,
                        .local = engine_->registration(kMemory),
                        .localOffset = 0,
                        .lengthBytes = lengthBytes,
                        .remoteOffset = 0,
                        .wholeOffset = 0,
                        .wholeBytes = lengthBytes};
    std::vector<OperationOrder> orders;
    orders.push_back({kActive, slot_, kToken, std::move(operation)});
    engine_->submit(std::move(orders));
  }

  bool closed(uint32_t id) { return event(EventKind::closed, id) != nullptr; }

  FakeProvider provider;

private:
  void take() {
    std::vector<Completion> completions;
    std::vector<Event> events;
    engine_->outbox().take(completions, events);
    for (const Completion &each : completions) {
      // Once: it would be somebody else's the second time.
      CHECK(statuses_.emplace(each.operation, each.status).second);
    }
    std::move(events.begin(), events.end(), std::back_inserter(events_));
  }

  std::shared_ptr<WindowTable> table_;
  uint32_t slot_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool rung_ = false;
  std::deque<Event> events_;
  std::map<double, int32_t> statuses_;
  std::unique_ptr<Engine> engine_;
};

struct Pair {
  explicit Pair(size_t lengthBytes = 4 * kSliceBytes) : here(lengthBytes), there(lengthBytes) {
    std::iota(here.bytes.begin(), here.bytes.end(), 1);
  }
  ~Pair() { CHECK(here.retained == 0); }
  Memory here;
  Memory there;
};

bool operationIsUnderWay(Fixture &fixture) { return fixture.provider.pending().size() > 0; }

void testMoves() {
  Pair memory(20 * kSliceBytes + 3);
  Fixture fixture;
  fixture.prepare(memory.here, memory.there);
  fixture.write(1, memory.here.bytes.size());
  CHECK(fixture.until([&] { return fixture.status(1) == kDone; }));
  CHECK(memory.there.bytes == memory.here.bytes);
  // Work is not looked for where there is none.
  CHECK(fixture.engine().stats().operations == 0);
  fixture.engine().closeEndpoint(kActive);
  CHECK(fixture.until([&] { return fixture.closed(kActive); }));
  CHECK(fixture.count(EventKind::broken) == 0);
}

// Its descriptor fails for ever: the thread lets go of it, says so once, and sleeps.
void testDeadDescriptors(void (FakeProvider::*first)(), void (FakeProvider::*second)()) {
  Pair memory;
  Fixture fixture;
  fixture.prepare(memory.here, memory.there);
  fixture.provider.withhold(true);
  fixture.provider.keepFlushes(true);
  fixture.write(1, memory.here.bytes.size());
  CHECK(fixture.until([&] { return operationIsUnderWay(fixture); }));
  const auto begun = Clock::now();
  (fixture.provider.*first)();
  CHECK(fixture.until([&] { return fixture.status(1).has_value(); }));
  // A dead device says nothing of what it had: the limit of the drain does, and the queue pairs are gone before.
  CHECK(Clock::now() - begun >= kDrainAtLeast);
  CHECK(*fixture.status(1) != kDone);
  CHECK(fixture.until([&] { return fixture.closed(kActive) && fixture.closed(kPassive); }));
  CHECK(fixture.provider.counts().queuePairs == 0);
  const size_t before = fixture.provider.counts().descriptorReads;
  (fixture.provider.*second)();
  CHECK(fixture.until([&] { return fixture.provider.counts().descriptorReads > before; }));
  const size_t reads = fixture.provider.counts().descriptorReads;
  const uint64_t sleeps = fixture.engine().stats().sleeps;
  // A thread that did not let go would read and wake up thousands of times meanwhile.
  CHECK(fixture.create(3) == 0 && fixture.create(4, 1) == 0);
  CHECK(fixture.provider.counts().descriptorReads == reads);
  CHECK(fixture.engine().stats().sleeps - sleeps < 20);
  CHECK(fixture.count(EventKind::async) == 1);
  CHECK(fixture.event(EventKind::async, IBV_EVENT_DEVICE_FATAL) != nullptr);
  // A new connection over it ends at once.
  fixture.connect(3, 4);
  CHECK(fixture.until([&] { return fixture.closed(3); }));
}

void testFatalEvent() {
  Pair memory;
  Fixture fixture;
  fixture.prepare(memory.here, memory.there);
  fixture.provider.raise(IBV_EVENT_PORT_ERR);
  CHECK(fixture.until([&] { return fixture.count(EventKind::async) == 1; }));
  fixture.provider.withhold(true);
  fixture.write(1, memory.here.bytes.size());
  CHECK(fixture.until([&] { return operationIsUnderWay(fixture); }));
  fixture.provider.raise(IBV_EVENT_DEVICE_FATAL);
  fixture.provider.raise(IBV_EVENT_PORT_ACTIVE);
  CHECK(fixture.until([&] { return fixture.closed(kActive) && fixture.closed(kPassive); }));
  CHECK(fixture.status(1) == IBV_WC_WR_FLUSH_ERR);
  CHECK(fixture.event(EventKind::closed, kActive)->status == IBV_WC_FATAL_ERR);
  // What a dead device says of its port does not count.
  CHECK(fixture.count(EventKind::async) == 2);
  CHECK(fixture.event(EventKind::async, IBV_EVENT_PORT_ACTIVE) == nullptr);
}

// Completions are found all the same, without a busy loop.
void testWithoutBell() {
  Pair memory;
  Fixture fixture;
  fixture.prepare(memory.here, memory.there);
  fixture.provider.refuseBells();
  for (double id = 1; id <= 3; id++) {
    fixture.write(id, memory.here.bytes.size());
    CHECK(fixture.until([&] { return fixture.status(id) == kDone; }));
  }
  fixture.provider.withhold(true);
  fixture.write(4, memory.here.bytes.size());
  CHECK(fixture.until([&] { return operationIsUnderWay(fixture); }));
  const uint64_t sleeps = fixture.engine().stats().sleeps;
  const uint64_t polls = fixture.provider.counts().polls;
  CHECK(fixture.until([&] { return fixture.engine().stats().sleeps >= sleeps + 5; }));
  CHECK(fixture.provider.counts().polls - polls < 1'000);
  for (const uint64_t id : fixture.provider.pending()) fixture.provider.complete(id, IBV_WC_RETRY_EXC_ERR);
  CHECK(fixture.until([&] { return fixture.closed(kActive); }));
  CHECK(fixture.status(4).has_value() && *fixture.status(4) != kDone);
}

// Completions of queue pairs that are gone, and of work requests that have ended or never were, end nothing.
void testStrangeCompletions() {
  Pair memory;
  Fixture fixture;
  fixture.prepare(memory.here, memory.there);
  fixture.write(1, memory.here.bytes.size());
  CHECK(fixture.until([&] { return fixture.status(1) == kDone; }));
  fixture.provider.withhold(true);
  fixture.write(2, memory.here.bytes.size());
  CHECK(fixture.until([&] { return operationIsUnderWay(fixture); }));
  const uint64_t look = fixture.provider.pending()[0];
  fixture.provider.complete(0xdead'0000'0000ull, IBV_WC_SUCCESS);
  fixture.provider.complete(0xdead'0000'0000ull, IBV_WC_WR_FLUSH_ERR);
  fixture.provider.complete(look - 1, IBV_WC_SUCCESS);
  fixture.provider.complete(look + 1, IBV_WC_SUCCESS);
  fixture.provider.complete(look + 1000, IBV_WC_SUCCESS);
  const uint64_t polls = fixture.provider.counts().polls;
  CHECK(fixture.until([&] { return fixture.provider.counts().polls > polls; }));
  CHECK(!fixture.status(2).has_value() && fixture.count(EventKind::broken) == 0);
  // An error is an error, whatever it is of.
  fixture.provider.complete(look + 1000, IBV_WC_LOC_QP_OP_ERR);
  CHECK(fixture.until([&] { return fixture.status(2).has_value(); }));
  CHECK(*fixture.status(2) != kDone);
}

// The limit of a drain holds where a queue pair keeps what is on it.
void testDrainLimit() {
  Pair memory;
  Fixture fixture;
  fixture.prepare(memory.here, memory.there);
  fixture.provider.withhold(true);
  fixture.provider.keepFlushes(true);
  fixture.write(1, memory.here.bytes.size());
  CHECK(fixture.until([&] { return operationIsUnderWay(fixture); }));
  const auto begun = Clock::now();
  fixture.engine().closeEndpoint(kActive);
  CHECK(fixture.until([&] { return fixture.status(1).has_value(); }));
  CHECK(Clock::now() - begun >= kDrainAtLeast);
  CHECK(fixture.status(1) == IBV_WC_WR_FLUSH_ERR);
  CHECK(fixture.provider.counts().queuePairs == kDataPairs + 1); // Those of the other end.
  fixture.provider.keepFlushes(false);
  const auto second = Clock::now();
  fixture.engine().closeEndpoint(kPassive);
  CHECK(fixture.until([&] { return fixture.closed(kPassive); }));
  CHECK(Clock::now() - second < kDrainAtLeast);
}

// What was taken of a refused list went well, and asked for no completion: its end is found out all the same.
void testRefusedList() {
  Pair memory(6 * kSliceBytes);
  Fixture fixture;
  fixture.prepare(memory.here, memory.there);
  fixture.write(1, kSliceBytes);
  CHECK(fixture.until([&] { return fixture.status(1) == kDone; }));
  const auto begun = Clock::now();
  // The look, and three of six slices.
  fixture.provider.refuseListAfter(1 + 3);
  fixture.write(2, memory.here.bytes.size());
  CHECK(fixture.until([&] { return fixture.closed(kActive); }));
  CHECK(Clock::now() - begun < kDrainAtLeast);
  CHECK(fixture.status(2) == IBV_WC_LOC_QP_OP_ERR);
  CHECK(fixture.event(EventKind::closed, kActive)->status == IBV_WC_LOC_QP_OP_ERR);
  CHECK(fixture.event(EventKind::broken, kActive) != nullptr);
}

// The end of one connection does not wait until others have been made.
void testEndsBeforeConnects() {
  Pair memory;
  Fixture fixture;
  fixture.prepare(memory.here, memory.there);
  CHECK(fixture.create(3) == 0 && fixture.create(4) == 0);
  fixture.provider.holdConnects(true);
  fixture.connect(3, kPassive);
  fixture.connect(4, kPassive);
  CHECK(fixture.until([&] { return fixture.provider.counts().connecting == 1; }));
  fixture.engine().closeEndpoint(kActive);
  CHECK(fixture.until([&] { return fixture.closed(kActive); }));
  CHECK(fixture.create(5) == 0);
  CHECK(fixture.count(EventKind::connected) == 2);
  // One that is destroyed before it is connected is not touched after that.
  fixture.engine().closeEndpoint(4);
  CHECK(fixture.until([&] { return fixture.closed(4); }));
  fixture.provider.holdConnects(false);
  CHECK(fixture.until([&] { return fixture.event(EventKind::connected, 4) != nullptr; }));
  CHECK(fixture.event(EventKind::connected, 3)->status == 0);
  CHECK(fixture.event(EventKind::connected, 4)->status == ECANCELED);
}

// What the device has no room for is refused, with nothing left behind, and goes well when there is room again.
void testLimits() {
  Fixture fixture(64);
  fixture.provider.limitQueuePairs(kDataPairs + 2);
  CHECK(fixture.create(1) == 0);
  CHECK(fixture.create(2) == ENOMEM);
  CHECK(fixture.event(EventKind::created, 2)->text == "ibv_create_qp");
  CHECK(fixture.provider.counts().queuePairs == kDataPairs + 1);
  fixture.provider.limitQueuePairs(100);
  CHECK(fixture.create(3) == 0);
  CHECK(fixture.create(4) == ENOSPC);
  fixture.engine().closeEndpoint(1);
  CHECK(fixture.until([&] { return fixture.closed(1); }));
  CHECK(fixture.create(5) == 0);
}

// The address that every network routes may stand far down in a long table, and an index has eight bits.
void testLongGidTable() {
  Fixture fixture;
  std::vector<ibv_gid_entry> table(1'000);
  for (uint32_t i = 0; i < table.size(); i++) {
    table[i].gid_index = i;
    table[i].port_num = 1;
    table[i].gid_type = IBV_GID_TYPE_ROCE_V2;
    table[i].gid.raw[0] = 0xfe;
    table[i].gid.raw[1] = 0x80;
  }
  const auto makeIpv4 = [](ibv_gid_entry &entry) {
    entry.gid = {};
    entry.gid.raw[10] = entry.gid.raw[11] = 0xff;
  };
  makeIpv4(table[700]);
  fixture.provider.setGids(table);
  CHECK(fixture.engine().device().queryPort().gidIndex == 0);
  makeIpv4(table[200]);
  fixture.provider.setGids(table);
  CHECK(fixture.engine().device().queryPort().gidIndex == 200);
}

} // namespace

void testDevices() {
  testMoves();
  testDeadDescriptors(&FakeProvider::breakEvents, &FakeProvider::breakChannel);
  testDeadDescriptors(&FakeProvider::breakChannel, &FakeProvider::breakEvents);
  testFatalEvent();
  testWithoutBell();
  testStrangeCompletions();
  testDrainLimit();
  testRefusedList();
  testEndsBeforeConnects();
  testLimits();
  testLongGidTable();
}
