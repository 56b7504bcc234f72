// The parts of message streams that need no device.
#include <deque>
#include <random>
#include <vector>

#include "../core/byte_ring.h"
#include "../core/credit_ledger.h"
#include "../core/message_stream.h"
#include "check.h"

using namespace mooncake::rdma;

namespace {

struct Message {
  bool withBytes;
  uint32_t credits;
};

// One end of a stream as the message thread is, without the bytes.
struct End {
  explicit End(uint32_t slots) : slots(slots), ledger(slots), posted(slots + kSpareReceives) {}

  const uint32_t slots;
  CreditLedger ledger;
  uint32_t posted;
  // On their way to the peer; used a receive of this end; given to the reader; read.
  std::deque<Message> wire{};
  std::deque<Message> arrived{};
  uint32_t unread = 0;
  uint32_t freed = 0;
  uint32_t toSend = 0;
  uint32_t readCount = 0;

  void serve() {
    posted += freed;
    ledger.free(freed);
    freed = 0;
    while (toSend > 0 && ledger.hasCredit()) {
      ledger.spend();
      toSend--;
      wire.push_back({true, ledger.settle()});
    }
    if (ledger.mustTell()) wire.push_back({false, ledger.settle()});
  }

  void arrive(End &from) {
    if (from.wire.empty()) return;
    CHECK(posted > 0); // Else the peer would have to ask again.
    posted--;
    arrived.push_back(from.wire.front());
    from.wire.pop_front();
  }

  void harvest() {
    if (arrived.empty()) return;
    const Message message = arrived.front();
    arrived.pop_front();
    CHECK(ledger.restore(message.credits));
    if (message.withBytes) unread++;
    else posted++;
    serve();
  }

  void read() {
    if (unread == 0) return;
    unread--;
    freed++;
    readCount++;
    if (freed * 2 >= slots) serve();
  }
};

// Whatever the order in which things happen: no message meets an end without a receive, and none waits for ever.
void testCredits() {
  std::mt19937 random(7);
  for (int round = 0; round < 300; round++) {
    End one(2 + random() % 8), other(2 + random() % 8);
    one.ledger.open(other.slots);
    other.ledger.open(one.slots);
    one.wire.push_back({false, 0});
    const uint32_t count = 200;
    one.toSend = count;
    other.toSend = round % 2 == 0 ? count : 0;
    const uint32_t back = other.toSend;
    one.serve();
    other.serve();
    for (int step = 0; step < 3000; step++) {
      End &here = random() % 2 == 0 ? one : other;
      End &there = &here == &one ? other : one;
      switch (random() % 4) {
      case 0: here.arrive(there); break;
      case 1: here.harvest(); break;
      case 2: here.serve(); break;
      // In some rounds a reader is slow.
      default:
        if (round % 3 != 0 || random() % 8 == 0) here.read();
      }
    }
    for (uint32_t step = 0; step < 20 * count; step++) {
      for (End *here : {&one, &other}) {
        here->arrive(here == &one ? other : one);
        here->harvest();
        here->read();
      }
    }
    CHECK(other.readCount == count && one.readCount == back);
    CHECK(one.toSend == 0 && other.toSend == 0);
  }
}

void testTooManyCredits() {
  CreditLedger ledger(4);
  ledger.open(2);
  CHECK(!ledger.restore(1));
  ledger.spend();
  CHECK(ledger.restore(1) && !ledger.restore(0xffffffffu));
}

void testByteRing() {
  std::mt19937 random(11);
  std::vector<uint8_t> memory(257);
  ByteRing ring(memory.data(), memory.size());
  std::deque<uint8_t> expected;
  std::deque<uint32_t> inFlight;
  uint8_t next = 0;
  for (int step = 0; step < 20'000; step++) {
    if (random() % 2 == 0) {
      std::vector<uint8_t> bytes(random() % 100);
      for (uint8_t &byte : bytes) byte = next++;
      const uint64_t room = ring.roomBytes();
      const uint64_t taken = ring.write(bytes.data(), bytes.size());
      CHECK(taken == std::min<uint64_t>(room, bytes.size()));
      expected.insert(expected.end(), bytes.begin(), bytes.begin() + static_cast<long>(taken));
      next = static_cast<uint8_t>(next - (bytes.size() - taken));
    } else if (random() % 2 == 0 && ring.unpostedBytes() > 0) {
      const ByteRing::Piece piece = ring.post(64);
      CHECK(piece.lengthBytes >= 1 && piece.lengthBytes <= 64);
      CHECK(piece.at >= memory.data() && piece.at + piece.lengthBytes <= memory.data() + memory.size());
      for (uint32_t i = 0; i < piece.lengthBytes; i++) {
        CHECK(piece.at[i] == expected.front());
        expected.pop_front();
      }
      inFlight.push_back(piece.lengthBytes);
    } else if (!inFlight.empty()) {
      ring.release(inFlight.front());
      inFlight.pop_front();
    }
  }
}

void testStreamInfo() {
  StreamInfo info;
  info.connection.mtu = 5;
  info.connection.queuePairCount = 1;
  info.slots = 32;
  info.slotBytes = 16384;
  const std::vector<uint8_t> bytes = info.encode();
  const auto same = StreamInfo::decode(bytes.data(), bytes.size());
  CHECK(same.has_value() && same->slots == 32 && same->slotBytes == 16384);
  CHECK(!StreamInfo::decode(bytes.data(), bytes.size() - 1).has_value());
  for (const auto spoil : {+[](StreamInfo &each) { each.slots = 0; }, +[](StreamInfo &each) { each.slotBytes = 0; },
                           +[](StreamInfo &each) { each.slots = 100'000; },
                           +[](StreamInfo &each) { each.connection.queuePairCount = 2; }}) {
    StreamInfo wrong = info;
    spoil(wrong);
    const std::vector<uint8_t> spoilt = wrong.encode();
    CHECK(!StreamInfo::decode(spoilt.data(), spoilt.size()).has_value());
  }
}

} // namespace

void testMessages() {
  testCredits();
  testTooManyCredits();
  testByteRing();
  testStreamInfo();
}
