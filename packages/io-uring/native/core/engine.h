#pragma once
#include <deque>
#include <memory>

#include "executor.h"
#include "memory_table.h"

namespace mooncake::io {

struct EngineOptions {
  // io_uring; otherwise the threads engine, which has one ring.
  bool uring;
  unsigned entries;
  unsigned bulkThreads;
  unsigned fileThreads;
};

// What could not be opened, with -errno; `error` 0 is success.
struct OpenResult {
  const char *what;
  int error;
};

// Why `prepare` did not take an operation. The numbers are shared with src/native.ts.
enum Refusal : int { kOutOfBounds = -1, kUnknownSlot = -2, kTooManyOperations = -3, kBadAddress = -4 };

struct EngineStats {
  size_t inFlight;
  uint64_t submitted;
  uint64_t completed;
  size_t attachedSlots;
  uint64_t enters;
};

// Operations, memory and executors of one JavaScript environment. Everything here runs on its thread.
class Engine {
public:
  ~Engine();
  OpenResult open(const EngineOptions &options);
  // Readable when `drain` may have something.
  int doorbell() const { return completions_.doorbell(); }
  void silenceDoorbell() { completions_.silence(); }
  void ringDoorbell() { completions_.ring(); }

  MemoryTable &memory() { return memory_; }

  // `vec` has `pieceCount` triples of slot, offset and length. Returns the operation's index, or a Refusal.
  int64_t prepareTransfer(uint32_t ring, Opcode opcode, int fd, uint32_t flags, uint64_t fileOffset,
                          const double *vec, size_t pieceCount);
  // nop, fsync, accept; connect has an address.
  int64_t prepare(uint32_t ring, Opcode opcode, int fd, uint32_t flags, const SocketAddress *address = nullptr);
  int64_t prepareAllocate(uint32_t ring, int fd, uint64_t fileOffset, uint64_t lengthBytes);
  void submit(uint32_t ring);
  void cancel(uint32_t index);
  void cancelAll();

  // True: `drain` has something.
  bool hasEnded();
  // Calls of `drain` for all that has ended by now.
  size_t roundsOf(size_t pairsMax);
  // Writes (index, result) pairs of operations that ended, `pairsMax` at most, and forgets those operations.
  size_t drain(double *pairs, size_t pairsMax);

  size_t ringCount() const { return rings_.size(); }
  size_t inFlight() const { return operations_.size() - free_.size(); }
  EngineStats stats() const;

  // Cancels everything, waits until nothing can touch the memory, and releases it. Blocks.
  void shutDown();

private:
  struct Ring {
    std::unique_ptr<Executor> executor;
    OperationList prepared;
  };

  Operation *take(uint32_t ring, Opcode opcode, int fd);
  // Back to the free list, with its memory let go.
  void recycle(Operation &operation);
  void refreshEnded();
  void endPrepared(Operation &operation);

  CompletionQueue completions_;
  std::vector<Ring> rings_;
  MemoryTable memory_;
  std::deque<Operation> operations_;
  std::vector<uint32_t> free_;
  // Ended, from `delivered_` on not yet drained.
  OperationList ended_;
  size_t delivered_ = 0;
  uint64_t submitted_ = 0;
  uint64_t completed_ = 0;
};

} // namespace mooncake::io
