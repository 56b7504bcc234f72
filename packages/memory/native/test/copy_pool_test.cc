#include "../core/copy_pool.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "../core/crc32c.h"
#include "../core/region.h"
#include "check.h"

using namespace mooncake;

namespace {

struct HeapBacking final : Backing {
  explicit HeapBacking(std::vector<uint8_t> bytes) : bytes_(std::move(bytes)) {}
  std::vector<uint8_t> bytes_;
};

struct Heap {
  std::shared_ptr<RegionStats> stats = std::make_shared<RegionStats>();

  Region* NewRegion(size_t length_bytes, uint8_t first) {
    std::vector<uint8_t> bytes(length_bytes, first);
    for (size_t index = 0; index < length_bytes; index += 97) bytes[index] = static_cast<uint8_t>(first + index / 97);
    auto backing = std::make_unique<HeapBacking>(std::move(bytes));
    uint8_t* base = backing->bytes_.data();
    return Region::OfBytes(base, length_bytes, std::move(backing), stats);
  }
};

/* Counts the calls of `notify`, and waits for them. */
class Bell {
 public:
  void Ring() {
    const std::lock_guard lock(mutex_);
    rings_ += 1;
    wake_.notify_all();
  }
  void Await(size_t count) {
    std::unique_lock lock(mutex_);
    CHECK(wake_.wait_for(lock, std::chrono::seconds(20), [&] { return rings_ >= count; }));
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  size_t rings_ = 0;
};

std::shared_ptr<Batch> CopyOf(Region* from, Region* to, uint64_t length_bytes) {
  auto batch = std::make_shared<Batch>(Batch::Kind::kCopy);
  batch->Hold(from);
  batch->Hold(to);
  batch->AddCopy(from, 0, to, 0, length_bytes);
  return batch;
}

void ChunksCoverEveryByteOnce() {
  Heap heap;
  Region* region = heap.NewRegion(100, 1);
  Batch batch(Batch::Kind::kChecksum);
  for (const uint64_t length_bytes : {0, 1, 30, 0, 50, 19, 0}) batch.AddChecksum(region, 0, length_bytes);
  uint64_t taken_bytes = 0;
  while (const auto chunk = batch.Take(16)) {
    CHECK(chunk->length_bytes <= 16);
    taken_bytes += chunk->length_bytes;
    batch.Run(*chunk);
  }
  CHECK(taken_bytes == 100 && batch.exhausted());
  const uint64_t lengths[] = {0, 1, 30, 0, 50, 19, 0};
  for (size_t op = 0; op < 7; op++) CHECK(batch.checksums()[op] == Crc32c(0, region->base, lengths[op]));
  region->Drop();
}

/* Large enough to go past the caches, from and to any boundary, and not a byte beyond. */
void ALargeCopyKeepsToItsBounds() {
  constexpr size_t kLengthBytes = 300'001;
  Heap heap;
  Region* from = heap.NewRegion(kLengthBytes + 200, 3);
  Region* to = heap.NewRegion(kLengthBytes + 200, 4);
  for (const uint64_t from_offset : {0, 1, 63, 64}) {
    for (const uint64_t to_offset : {1, 15, 16, 33, 64, 127}) {
      std::fill_n(to->base, to->length_bytes, uint8_t{0xee});
      Batch batch(Batch::Kind::kCopy);
      batch.AddCopy(from, from_offset, to, to_offset, kLengthBytes);
      while (const auto chunk = batch.Take(65'521)) batch.Run(*chunk);
      CHECK(std::equal(to->base + to_offset, to->base + to_offset + kLengthBytes, from->base + from_offset));
      CHECK(to->base[to_offset - 1] == 0xee && to->base[to_offset + kLengthBytes] == 0xee);
    }
  }
  from->Drop();
  to->Drop();
}

void ACopyOntoItselfIsOnePiece() {
  Heap heap;
  Region* region = heap.NewRegion(1000, 2);
  const std::vector<uint8_t> before(region->base, region->base + 1000);
  Batch batch(Batch::Kind::kCopy);
  batch.AddCopy(region, 0, region, 10, 990);
  const auto chunk = batch.Take(16);
  CHECK(chunk->length_bytes == 990 && batch.exhausted());
  batch.Run(*chunk);
  CHECK(std::equal(before.begin(), before.begin() + 990, region->base + 10));
  region->Drop();
}

void LargeAndSmallBatchesAllEnd() {
  constexpr size_t kBytes = 5 * (1u << 20) + 123;
  constexpr size_t kBatches = 20;
  Heap heap;
  Bell bell;
  Region* from = heap.NewRegion(kBytes, 3);
  Region* to = heap.NewRegion(kBytes, 4);
  {
    CopyPool pool(3, [&bell] { bell.Ring(); });
    for (size_t index = 0; index < kBatches; index++) {
      auto batch = std::make_shared<Batch>(Batch::Kind::kChecksum);
      batch->Hold(from);
      batch->AddChecksum(from, index, kBytes - index);
      pool.Submit(batch);
    }
    pool.Submit(std::make_shared<Batch>(Batch::Kind::kCopy));
    pool.Submit(CopyOf(from, to, kBytes));
    bell.Await(kBatches + 2);
    const auto finished = pool.TakeFinished();
    CHECK(finished.size() == kBatches + 2);
    for (const auto& batch : finished) {
      if (batch->kind() == Batch::Kind::kCopy) continue;
      const size_t index = kBytes - batch->length_bytes();
      CHECK(batch->checksums()[0] == Crc32c(0, from->base + index, kBytes - index));
    }
    CHECK(std::equal(from->base, from->base + kBytes, to->base));
  }
  from->Drop();
  to->Drop();
  CHECK(heap.stats->wrapped_regions == 0);
}

/* The end of a thread of JavaScript: what was not begun is forgotten, what runs comes to rest, all Regions go. */
void StopLeavesNothingBehind() {
  constexpr size_t kBytes = 8u << 20;
  Heap heap;
  for (int round = 0; round < 5; round++) {
    CopyPool pool(2, [] {});
    Region* from = heap.NewRegion(kBytes, 5);
    Region* to = heap.NewRegion(kBytes, 6);
    for (int index = 0; index < 30; index++) pool.Submit(CopyOf(from, to, kBytes));
    from->Drop();
    to->Drop();
    pool.Stop();
    pool.Stop();
    pool.TakeFinished();
    CHECK(heap.stats->wrapped_regions == 0);
  }
}

}  // namespace

void TestBatch() {
  ChunksCoverEveryByteOnce();
  ALargeCopyKeepsToItsBounds();
  ACopyOntoItselfIsOnePiece();
}

void TestCopyPool() {
  LargeAndSmallBatchesAllEnd();
  StopLeavesNothingBehind();
}
