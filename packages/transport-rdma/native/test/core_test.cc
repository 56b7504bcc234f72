#include "../core/engine.h"
#include "../core/spin_budget.h"
#include "../core/wire.h"
#include "check.h"

using namespace mooncake::rdma;

namespace {

GidEntry gid(int index, bool roceV2, std::array<uint8_t, 16> bytes) { return {index, bytes, roceV2}; }

void testGids() {
  const std::array<uint8_t, 16> none{};
  const std::array<uint8_t, 16> linkLocal{0xfe, 0x80, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8};
  const std::array<uint8_t, 16> global{0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  const std::array<uint8_t, 16> ipv4{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 9, 0, 1};
  // As a ConnectX has them, and as Soft-RoCE does.
  CHECK(chooseGid({gid(0, false, linkLocal), gid(1, true, linkLocal), gid(2, false, ipv4), gid(3, true, ipv4)}) == 3);
  CHECK(chooseGid({gid(0, true, linkLocal), gid(1, true, ipv4)}) == 1);
  CHECK(chooseGid({gid(0, true, linkLocal), gid(4, true, global)}) == 4);
  CHECK(chooseGid({gid(0, false, ipv4), gid(1, true, linkLocal)}) == 1);
  CHECK(chooseGid({gid(0, true, none)}) == -1);
  CHECK(chooseGid({}) == -1);
}

void testWindowTable() {
  WindowTable table(2);
  const auto *slots = reinterpret_cast<const WindowSlot *>(table.memory());
  const Token token{11, 12};
  CHECK(table.add(token, {4096, 100, kMayRead}) == 0);
  CHECK(slots[0].state == WindowState::registering);
  CHECK(slots[0].tokenLow == 11 && slots[0].tokenHigh == 0); // Nobody takes it for open before its keys are there.
  table.publish(0, {7});
  CHECK(slots[0].state == WindowState::open && slots[0].tokenHigh == 12 && slots[0].rkeys[0] == 7);
  CHECK(table.add({21, 22}, {0, 1, kMayWrite}) == 1);
  table.publish(1, {});
  CHECK(slots[1].state == WindowState::refused);
  CHECK(table.add({31, 32}, {0, 1, kMayWrite}) == -1);
  table.shut(0);
  CHECK(slots[0].state == WindowState::shut && slots[0].tokenLow == 0 && slots[0].tokenHigh == 0);
  CHECK(table.inUse() == 2);
  table.remove(0);
  CHECK(table.inUse() == 1);
  CHECK(table.add({41, 42}, {0, 1, kMayRead}) == 0);
}

void testConnectionInfo() {
  ConnectionInfo info;
  info.mtu = 5;
  info.queuePairCount = 2;
  info.queuePairs[1] = {77, 88};
  std::vector<uint8_t> bytes = info.encode();
  const auto again = ConnectionInfo::decode(bytes.data(), bytes.size());
  CHECK(again.has_value() && again->queuePairs[1].number == 77);
  CHECK(!ConnectionInfo::decode(bytes.data(), bytes.size() - 1).has_value());
  for (const size_t at : {offsetof(ConnectionInfo, magic), offsetof(ConnectionInfo, mtu),
                          offsetof(ConnectionInfo, queuePairCount)}) {
    std::vector<uint8_t> wrong = bytes;
    wrong[at] = 0xff;
    CHECK(!ConnectionInfo::decode(wrong.data(), wrong.size()).has_value());
  }
}

void testSpinBudget() {
  SpinBudget budget(100'000);
  CHECK(budget.ns() == 100'000);
  // Waits of a millisecond are not worth any polling …
  for (int i = 0; i < 20; i++) budget.came(1'000'000);
  CHECK(budget.ns() == 0);
  // … and those of 20 µs are.
  for (int i = 0; i < 4; i++) budget.came(20'000);
  CHECK(budget.ns() >= 20'000);
  budget.came(1'000);
  CHECK(budget.ns() >= 20'000);
  SpinBudget never(0);
  never.came(10);
  CHECK(never.ns() == 0);
}

void testTasks() {
  std::vector<int> order;
  {
    TaskThread thread;
    for (int i = 0; i < 100; i++) {
      thread.post([&order, &thread, i] {
        order.push_back(i);
        if (i == 99) thread.post([&order] { order.push_back(100); });
      });
    }
  }
  CHECK(order.size() == 101);
  for (int i = 0; i <= 100; i++) CHECK(order[static_cast<size_t>(i)] == i);
}

void testOutbox() {
  int rings = 0;
  Outbox outbox([&rings] { rings++; });
  std::vector<Completion> ended{{1, kDone}, {2, kCancelled}};
  outbox.add(ended);
  CHECK(ended.empty());
  outbox.add(Event{.kind = EventKind::closed, .subject = 3});
  CHECK(rings == 1);
  std::vector<Completion> completions;
  std::vector<Event> events;
  outbox.take(completions, events);
  CHECK(completions.size() == 2 && events.size() == 1);
  outbox.add(Event{.kind = EventKind::closed});
  CHECK(rings == 2);
}

// A completion that comes twice, or too early, stands for nothing.
void testAwaited() {
  QueuePair pair;
  pair.retired = kNumberMask;
  CHECK(!pair.awaits(kNumberMask));
  pair.inFlight.resize(2);
  CHECK(pair.awaits(kNumberMask) && pair.awaits(0));
  CHECK(!pair.awaits(1) && !pair.awaits(kNumberMask - 1));
}

// Where there is no RDMA: a sentence, and nothing that is left behind.
void testWithoutDevice() {
  std::string problem;
  const std::shared_ptr<const Verbs> verbs = Verbs::load(problem);
  if (verbs == nullptr) {
    CHECK(!problem.empty());
    return;
  }
  DeviceOptions options{};
  options.name = "no-such-device";
  CHECK(Engine::open(verbs, options, std::make_shared<WindowTable>(16), [] {}, problem) == nullptr);
  CHECK(problem == "there is no such device");
}

} // namespace

void testCore() {
  testGids();
  testWindowTable();
  testConnectionInfo();
  testSpinBudget();
  testTasks();
  testOutbox();
  testAwaited();
  testWithoutDevice();
}
