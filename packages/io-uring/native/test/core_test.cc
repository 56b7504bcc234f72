// The core without Node, to be run under the sanitizers: see scripts/test-native.mjs of the repository.
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

#include "../core/engine.h"
#include "../core/uring.h"

using namespace mooncake::io;

namespace {

#define CHECK(condition) \
  do { \
    if (!(condition)) { \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      exit(1); \
    } \
  } while (false)

// Memory of the heap, so that the address sanitizer sees every access after its release.
struct Buffer {
  explicit Buffer(size_t bytes) : data(new uint8_t[bytes]()), bytes(bytes) {}
  Memory memory() {
    return {data, bytes, this, [](void *owner) {
              auto *self = static_cast<Buffer *>(owner);
              delete[] self->data;
              self->data = nullptr;
            }};
  }
  uint8_t *data;
  size_t bytes;
};

struct Fixture {
  Fixture(bool uring, uint32_t ring) : ring(ring) {
    CHECK(engine.open({.uring = uring, .entries = 16, .bulkThreads = 1, .fileThreads = 2}).error == 0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
  }
  ~Fixture() {
    engine.shutDown();
    close(sockets[0]);
    close(sockets[1]);
  }

  int64_t transfer(Opcode opcode, int fd, uint32_t flags, std::vector<double> vec, uint64_t offset = 0) {
    return engine.prepareTransfer(ring, opcode, fd, flags, offset, vec.data(), vec.size() / 3);
  }

  // Waits until `count` operations have ended; results by index.
  std::map<int64_t, double> wait(size_t count) {
    std::map<int64_t, double> results;
    engine.submit(ring);
    while (results.size() < count) {
      double pairs[32];
      const size_t drained = engine.drain(pairs, 16);
      for (size_t i = 0; i < drained; i++) {
        CHECK(results.emplace(static_cast<int64_t>(pairs[2 * i]), pairs[2 * i + 1]).second);
      }
      if (drained == 0) awaitDoorbell();
    }
    return results;
  }

  void awaitDoorbell() {
    pollfd doorbell{engine.doorbell(), POLLIN, 0};
    CHECK(poll(&doorbell, 1, 5000) == 1);
    engine.silenceDoorbell();
  }

  Engine engine;
  const uint32_t ring;
  int sockets[2];
};

void testFold() {
  uint8_t bytes[100];
  Operation operation;
  operation.reset(Opcode::recv, 0);
  operation.flags = kWaitAll;
  for (int i = 0; i < 10; i++) operation.add(bytes + 10 * i, 10);
  CHECK(!operation.fold(-EINTR));
  CHECK(!operation.fold(25));
  CHECK(operation.pieceCount() == 8);
  CHECK(operation.pieces()->iov_base == bytes + 25 && operation.pieces()->iov_len == 5);
  CHECK(operation.fold(75) && operation.result == 100);

  operation.reset(Opcode::recv, 0);
  operation.flags = kWaitAll;
  operation.add(bytes, 100);
  CHECK(!operation.fold(60));
  CHECK(operation.fold(-ECONNRESET) && operation.result == 60);

  operation.reset(Opcode::read, 0);
  operation.setFileOffset(1000);
  for (int i = 0; i < 2 * IOV_MAX; i++) operation.add(bytes, 1);
  CHECK(operation.pieceCount() == IOV_MAX);
  CHECK(!operation.fold(IOV_MAX));
  CHECK(operation.fileOffset() == 1000 + IOV_MAX);
  CHECK(operation.fold(0) && operation.result == IOV_MAX);

  operation.reset(Opcode::send, 0);
  operation.flags = kWaitAll;
  operation.add(bytes, 100);
  operation.cancelRequested = true;
  CHECK(operation.fold(40) && operation.result == 40);
}

void testBatchesBeyondTheQueue(Fixture &fixture) {
  for (int i = 0; i < 5000; i++) CHECK(fixture.engine.prepare(fixture.ring, Opcode::nop, 0, 0) >= 0);
  for (const auto &[index, result] : fixture.wait(5000)) CHECK(result == 0);
  CHECK(fixture.engine.inFlight() == 0);
}

void testTransfer(Fixture &fixture) {
  constexpr double kBytes = 3 << 20;
  Buffer from(kBytes), to(kBytes);
  for (size_t i = 0; i < from.bytes; i++) from.data[i] = static_cast<uint8_t>(i * 7 + i / 251);
  const double source = fixture.engine.memory().attach(from.memory());
  const double target = fixture.engine.memory().attach(to.memory());
  const std::vector<double> into{target, 0, 5, target, 5, kBytes - 5};
  const int64_t received = fixture.transfer(Opcode::recv, fixture.sockets[0], kWaitAll, into);
  const int64_t sent = fixture.transfer(Opcode::send, fixture.sockets[1], kWaitAll, {source, 0, kBytes});
  auto results = fixture.wait(2);
  CHECK(results[received] == kBytes && results[sent] == kBytes);
  CHECK(memcmp(from.data, to.data, from.bytes) == 0);
  fixture.engine.memory().detach(static_cast<uint32_t>(source));
  fixture.engine.memory().detach(static_cast<uint32_t>(target));
  CHECK(from.data == nullptr && to.data == nullptr);
}

void testRefusals(Fixture &fixture) {
  Buffer buffer(100);
  const double slot = fixture.engine.memory().attach(buffer.memory());
  CHECK(fixture.transfer(Opcode::recv, 0, 0, {slot, 1, 100}) == kOutOfBounds);
  CHECK(fixture.transfer(Opcode::recv, 0, 0, {slot, 0, 1, slot + 1, 0, 1}) == kUnknownSlot);
  CHECK(fixture.engine.inFlight() == 0);
  fixture.engine.memory().detach(static_cast<uint32_t>(slot));
  CHECK(buffer.data == nullptr);
}

void testCancelAndDetach(Fixture &fixture) {
  Buffer buffer(4096);
  const double slot = fixture.engine.memory().attach(buffer.memory());
  const int64_t idle = fixture.transfer(Opcode::recv, fixture.sockets[0], kWaitAll, {slot, 0, 4096});
  fixture.engine.submit(fixture.ring);
  fixture.engine.memory().detach(static_cast<uint32_t>(slot));
  CHECK(buffer.data != nullptr);
  fixture.engine.cancel(static_cast<uint32_t>(idle));
  fixture.engine.cancel(static_cast<uint32_t>(idle));
  CHECK(fixture.wait(1)[idle] == -ECANCELED);
  CHECK(buffer.data == nullptr);
}

// Ends, cancels and uses the same places again, all at once: what a late cancel must not meet.
void testCancelRaces(Fixture &fixture) {
  Buffer buffer(64);
  const double slot = fixture.engine.memory().attach(buffer.memory());
  for (int round = 0; round < 300; round++) {
    const int64_t received = fixture.transfer(Opcode::recv, fixture.sockets[0], 0, {slot, 0, 64});
    const int64_t sent = fixture.transfer(Opcode::send, fixture.sockets[1], kWaitAll, {slot, 0, 1});
    fixture.engine.submit(fixture.ring);
    fixture.engine.cancel(static_cast<uint32_t>(received));
    auto results = fixture.wait(2);
    CHECK(results[sent] == 1 || results[sent] == -ECANCELED);
    CHECK(results[received] >= 1 || results[received] == -ECANCELED);
    if (results[received] == -ECANCELED && results[sent] == 1) CHECK(recv(fixture.sockets[0], buffer.data, 64, 0) >= 1);
  }
  fixture.engine.memory().detach(static_cast<uint32_t>(slot));
}

void testFiles(Fixture &fixture) {
  char path[] = "/tmp/io-uring-core-XXXXXX";
  const int fd = mkstemp(path);
  CHECK(fd >= 0);
  unlink(path);
  Buffer buffer(20000);
  const double slot = fixture.engine.memory().attach(buffer.memory());
  for (int i = 0; i < 10000; i++) buffer.data[i] = static_cast<uint8_t>(i * 13);
  const int64_t written = fixture.transfer(Opcode::write, fd, 0, {slot, 0, 10000}, 7);
  CHECK(fixture.wait(1)[written] == 10000);
  CHECK(fixture.engine.prepare(fixture.ring, Opcode::fsync, fd, kDataOnly) >= 0);
  fixture.wait(1);
  const int64_t read = fixture.transfer(Opcode::read, fd, 0, {slot, 10000, 1, slot, 10001, 9999}, 7);
  CHECK(fixture.wait(1)[read] == 10000);
  CHECK(memcmp(buffer.data, buffer.data + 10000, 10000) == 0);
  fixture.engine.memory().detach(static_cast<uint32_t>(slot));
  close(fd);
}

// One enter runs only some of the work that the kernel has deferred. Here the first of it ends nothing, and nothing rings
// for the rest.
void testDeferredWorkThatEndsNothing(Fixture &fixture) {
  constexpr size_t kPairs = 64;
  constexpr size_t kFinished = 24;
  Buffer buffer(2 * kPairs);
  const double slot = fixture.engine.memory().attach(buffer.memory());
  int pairs[kPairs][2];
  for (size_t i = 0; i < kPairs; i++) {
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pairs[i]) == 0);
    CHECK(fixture.transfer(Opcode::recv, pairs[i][0], kWaitAll, {slot, 2.0 * static_cast<double>(i), 2}) >= 0);
  }
  // All are waiting when this one has ended.
  CHECK(fixture.engine.prepare(fixture.ring, Opcode::nop, 0, 0) >= 0);
  CHECK(fixture.wait(1).size() == 1);
  for (const auto &pair : pairs) CHECK(send(pair[1], "a", 1, 0) == 1);
  fixture.engine.silenceDoorbell();
  CHECK(!fixture.engine.hasEnded());
  for (size_t i = kPairs - kFinished; i < kPairs; i++) CHECK(send(pairs[i][1], "b", 1, 0) == 1);
  for (const auto &[index, result] : fixture.wait(kFinished)) CHECK(result == 2);
  fixture.engine.cancelAll();
  fixture.wait(kPairs - kFinished);
  fixture.engine.memory().detach(static_cast<uint32_t>(slot));
  for (const auto &pair : pairs) {
    close(pair[0]);
    close(pair[1]);
  }
}

void testShutDownWithWork(bool uring, uint32_t ring) {
  Buffer buffer(8 << 20);
  {
    Fixture fixture(uring, ring);
    const double slot = fixture.engine.memory().attach(buffer.memory());
    CHECK(fixture.transfer(Opcode::send, fixture.sockets[0], kWaitAll, {slot, 0, 8 << 20}) >= 0);
    CHECK(fixture.transfer(Opcode::recv, fixture.sockets[0], kWaitAll, {slot, 0, 100}) >= 0);
    CHECK(fixture.transfer(Opcode::recv, fixture.sockets[1], 0, {slot, 0, 100}) >= 0);
    fixture.engine.submit(ring);
    CHECK(fixture.transfer(Opcode::recv, fixture.sockets[1], 0, {slot, 0, 100}) >= 0);
  }
  CHECK(buffer.data == nullptr);
}

void testEngine(bool uring, uint32_t ring) {
  {
    Fixture fixture(uring, ring);
    testBatchesBeyondTheQueue(fixture);
    testTransfer(fixture);
    testRefusals(fixture);
    testCancelAndDetach(fixture);
    testCancelRaces(fixture);
    testDeferredWorkThatEndsNothing(fixture);
    testFiles(fixture);
  }
  for (int i = 0; i < 20; i++) testShutDownWithWork(uring, ring);
}

} // namespace

int main() {
  testFold();
  testEngine(false, 0);
  if (probeUring().error == 0) {
    testEngine(true, 0);
    testEngine(true, 1);
  } else {
    puts("io_uring is refused here: only the threads engine was tested");
  }
  puts("ok");
}
