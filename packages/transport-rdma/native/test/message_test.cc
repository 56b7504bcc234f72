// The parts of message streams that need no device, and what happens to streams when a made-up device goes wrong.
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <random>
#include <vector>

#include "../core/byte_ring.h"
#include "../core/credit_ledger.h"
#include "../core/message_engine.h"
#include "check.h"
#include "fake_provider.h"

using namespace mooncake::rdma;
using mooncake::rdma::test::FakeProvider;

namespace {

constexpr auto kDeadline = std::chrono::seconds(30);
constexpr uint32_t kAsking = 1;
constexpr uint32_t kAnswering = 2;

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

// A device, what it has said so far, and the two ends of a stream.
class Streams {
public:
  Streams() {
    DeviceOptions options{};
    options.name = FakeProvider::kName;
    options.port = 1;
    options.gidIndex = -1;
    options.mtuMax = IBV_MTU_4096;
    options.completionsMax = 1024;
    options.spinNsMax = 20'000;
    std::string problem;
    const auto ring = [this] {
      const std::lock_guard lock(mutex_);
      rung_ = true;
      changed_.notify_one();
    };
    engine_ = MessageEngine::open(provider.verbs(), options, {.slots = 4, .slotBytes = 64, .sendBytes = 256}, ring, problem);
    CHECK(engine_ != nullptr);
  }

  ~Streams() {
    engine_.reset();
    const FakeProvider::Counts left = provider.counts();
    CHECK(left.queuePairs == 0 && left.memoryRegions == 0);
  }

  MessageEngine &engine() { return *engine_; }

  template <typename Condition> bool until(Condition condition) {
    const auto deadline = std::chrono::steady_clock::now() + kDeadline;
    for (;;) {
      std::vector<Completion> news;
      std::vector<Event> events;
      engine_->outbox().take(news, events);
      for (Event &event : events) said_[{event.kind, event.subject}] = std::move(event);
      if (condition()) return true;
      if (std::chrono::steady_clock::now() > deadline) return false;
      // What the made-up device does rings no bell.
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, std::chrono::milliseconds(10), [this] { return rung_; });
      rung_ = false;
    }
  }

  const Event *said(EventKind kind, uint32_t subject) const {
    const auto found = said_.find({kind, subject});
    return found == said_.end() ? nullptr : &found->second;
  }

  StreamInfo create(uint32_t id) {
    engine_->create(id);
    CHECK(until([&] { return said(EventKind::created, id) != nullptr; }));
    const Event &event = *said(EventKind::created, id);
    CHECK(event.status == 0);
    const auto info = StreamInfo::decode(event.bytes.data(), event.bytes.size());
    CHECK(info.has_value());
    return *info;
  }

  void connect() {
    const StreamInfo asking = create(kAsking), answering = create(kAnswering);
    engine_->connect(kAnswering, asking, false);
    CHECK(until([&] { return said(EventKind::connected, kAnswering) != nullptr; }));
    CHECK(said(EventKind::connected, kAnswering)->status == 0);
    engine_->connect(kAsking, answering, true);
    CHECK(until([&] { return said(EventKind::connected, kAsking) != nullptr; }));
  }

  void closed(uint32_t id, int32_t status) {
    CHECK(until([&] { return said(EventKind::closed, id) != nullptr; }));
    CHECK(said(EventKind::closed, id)->status == status);
  }

  FakeProvider provider;

private:
  std::unique_ptr<MessageEngine> engine_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool rung_ = false;
  std::map<std::pair<EventKind, uint32_t>, Event> said_;
};

// Both ends write all the time and read in small pieces; whoever is told nothing would wait for ever.
void testBytes() {
  Streams streams;
  streams.connect();
  constexpr size_t kBytes = 4000;
  std::vector<uint8_t> bytes(kBytes);
  for (size_t i = 0; i < kBytes; i++) bytes[i] = static_cast<uint8_t>(i * 7);
  struct {
    MessageEngine::Stream stream;
    size_t written = 0;
    std::vector<uint8_t> read{};
  } ends[2] = {{streams.engine().find(kAsking)}, {streams.engine().find(kAnswering)}};
  const auto work = [&] {
    bool done = true;
    for (auto &end : ends) {
      if (end.written < kBytes) {
        end.written += end.stream->write(bytes.data() + end.written, kBytes - end.written);
        if (end.written == kBytes) end.stream->finish();
        streams.engine().poke(end.stream);
      }
      while (end.stream->readableBytes() > 0) {
        uint8_t piece[50];
        bool poke = false;
        const uint64_t taken = end.stream->read(piece, sizeof piece, poke);
        if (poke) streams.engine().poke(end.stream);
        end.read.insert(end.read.end(), piece, piece + taken);
      }
      done = done && end.stream->ended() && end.stream->finished() && end.read.size() == kBytes;
    }
    return done;
  };
  CHECK(streams.until(work));
  for (auto &end : ends) CHECK(end.read == bytes);
  for (const uint32_t id : {kAsking, kAnswering}) {
    streams.engine().close(id);
    streams.closed(id, IBV_WC_WR_FLUSH_ERR);
  }
}

// A reader that is held up holds the writer up: what is under way is bounded, and nothing fails.
void testHeldUp() {
  Streams streams;
  streams.connect();
  const MessageEngine::Stream writer = streams.engine().find(kAsking);
  const std::vector<uint8_t> bytes(1000);
  size_t written = 0;
  const auto full = [&] {
    written += writer->write(bytes.data(), bytes.size());
    streams.engine().poke(writer);
    return written == 4 * 64 + 256;
  };
  CHECK(streams.until(full));
  CHECK(streams.engine().find(kAnswering)->readableBytes() == 4 * 64);
  CHECK(writer->write(bytes.data(), 1) == 0 && streams.said(EventKind::closed, kAsking) == nullptr);
}

void testDeadDevice() {
  Streams streams;
  streams.connect();
  streams.provider.keepFlushes(true);
  streams.provider.raise(IBV_EVENT_DEVICE_FATAL);
  for (const uint32_t id : {kAsking, kAnswering}) streams.closed(id, IBV_WC_FATAL_ERR);
  CHECK(streams.said(EventKind::async, IBV_EVENT_DEVICE_FATAL) != nullptr);
}

// Of a list that is taken in part, the rest was never on its way.
void testRefusedList() {
  Streams streams;
  streams.connect();
  const auto begun = std::chrono::steady_clock::now();
  streams.provider.refuseListAfter(1);
  const MessageEngine::Stream writer = streams.engine().find(kAsking);
  const std::vector<uint8_t> bytes(200);
  CHECK(writer->write(bytes.data(), bytes.size()) == bytes.size());
  streams.engine().poke(writer);
  streams.closed(kAsking, IBV_WC_LOC_QP_OP_ERR);
  CHECK(std::chrono::steady_clock::now() - begun < std::chrono::milliseconds(900)); // Not the limit of the drain.
}

// The peer is gone when the first message goes.
void testNobodyThere() {
  Streams streams;
  const StreamInfo answering = streams.create(kAnswering);
  streams.create(kAsking);
  streams.engine().close(kAnswering);
  streams.closed(kAnswering, IBV_WC_WR_FLUSH_ERR);
  streams.engine().connect(kAsking, answering, true);
  streams.closed(kAsking, IBV_WC_RNR_RETRY_EXC_ERR);
  CHECK(streams.said(EventKind::connected, kAsking) == nullptr);
}

void testNoRoom() {
  Streams streams;
  streams.provider.limitQueuePairs(1);
  streams.create(kAsking);
  streams.engine().create(kAnswering);
  CHECK(streams.until([&] { return streams.said(EventKind::created, kAnswering) != nullptr; }));
  CHECK(streams.said(EventKind::created, kAnswering)->status == ENOMEM);
}

// The end of one stream does not wait behind the connect of another, and an engine can end in the middle of both.
void testEndWhileConnecting() {
  Streams streams;
  const StreamInfo answering = streams.create(kAnswering);
  streams.create(kAsking);
  streams.provider.holdConnects(true);
  streams.engine().connect(kAsking, answering, true);
  CHECK(streams.until([&] { return streams.provider.counts().connecting == 1; }));
  streams.engine().close(kAnswering);
  streams.closed(kAnswering, IBV_WC_WR_FLUSH_ERR);
  streams.provider.holdConnects(false);
}

// What was given up while others were connected is not connected, and nobody else waits for it.
void testGivenUpBeforeConnected() {
  constexpr uint32_t kSlow = 3, kLater = 4;
  Streams streams;
  const StreamInfo answering = streams.create(kAnswering);
  for (const uint32_t id : {kSlow, kAsking}) streams.create(id);
  streams.provider.holdConnects(true);
  streams.engine().connect(kSlow, answering, false);
  CHECK(streams.until([&] { return streams.provider.counts().connecting == 1; }));
  streams.engine().connect(kAsking, answering, false);
  streams.provider.keepFlushes(true); // It drains until the limit: its queue pair is still there.
  streams.engine().close(kAsking);
  streams.create(kLater); // The message thread has seen both.
  streams.provider.holdConnects(false);
  CHECK(streams.until([&] { return streams.said(EventKind::connected, kAsking) != nullptr; }));
  CHECK(streams.said(EventKind::connected, kSlow)->status == 0);
  CHECK(streams.said(EventKind::connected, kAsking)->status == ECANCELED);
  streams.closed(kAsking, IBV_WC_WR_FLUSH_ERR);
}

// Who closes does not wait until there is something to close; and what is closed can be closed again.
void testClosedBeforeCreated() {
  Streams streams;
  streams.engine().create(kAsking);
  streams.engine().close(kAsking);
  streams.closed(kAsking, IBV_WC_WR_FLUSH_ERR);
  CHECK(streams.said(EventKind::created, kAsking)->status == 0);
  streams.engine().close(kAsking);
  streams.engine().forget(kAsking);
  streams.engine().close(kAsking);
  streams.engine().connect(kAsking, StreamInfo{}, true);
  CHECK(streams.until([&] { return streams.said(EventKind::connected, kAsking) != nullptr; }));
  CHECK(streams.said(EventKind::connected, kAsking)->status == ENOENT);
}

// A slow reader has the bytes of a peer that has said all and gone, and says nothing more to it.
void testReadAfterPeer() {
  constexpr uint32_t kLater = 3;
  Streams streams;
  streams.connect();
  const MessageEngine::Stream writer = streams.engine().find(kAsking), reader = streams.engine().find(kAnswering);
  std::vector<uint8_t> bytes(3 * 64); // With the last message one for each slot.
  CHECK(writer->write(bytes.data(), bytes.size()) == bytes.size());
  writer->finish();
  streams.engine().poke(writer);
  CHECK(streams.until([&] { return reader->ended() && writer->finished(); }));
  streams.engine().close(kAsking);
  streams.closed(kAsking, IBV_WC_WR_FLUSH_ERR);
  bool poke = false;
  CHECK(reader->read(bytes.data(), bytes.size(), poke) == bytes.size() && poke);
  streams.engine().poke(reader);
  streams.create(kLater); // The message thread has looked at the reader.
  streams.engine().close(kAnswering);
  streams.closed(kAnswering, IBV_WC_WR_FLUSH_ERR); // Else it broke before.
}

// A stream of a device that has died before it was connected.
void testConnectedToDeadDevice() {
  Streams streams;
  streams.provider.raise(IBV_EVENT_DEVICE_FATAL);
  CHECK(streams.until([&] { return streams.said(EventKind::async, IBV_EVENT_DEVICE_FATAL) != nullptr; }));
  const StreamInfo answering = streams.create(kAnswering);
  streams.create(kAsking);
  streams.engine().connect(kAsking, answering, true);
  streams.closed(kAsking, IBV_WC_FATAL_ERR);
  CHECK(streams.said(EventKind::connected, kAsking) == nullptr);
}

} // namespace

void testMessages() {
  testBytes();
  testHeldUp();
  testDeadDevice();
  testRefusedList();
  testNobodyThere();
  testNoRoom();
  testEndWhileConnecting();
  testGivenUpBeforeConnected();
  testClosedBeforeCreated();
  testReadAfterPeer();
  testConnectedToDeadDevice();
  testCredits();
  testTooManyCredits();
  testByteRing();
  testStreamInfo();
}
