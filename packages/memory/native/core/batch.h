#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "../region_abi.h"

namespace mooncake {

/* Some bytes of a batch, taken by one thread: it begins inside one operation and may span several. */
struct Chunk {
  size_t first_op;
  uint64_t first_offset;
  uint64_t length_bytes;
};

/* Copies, or checksums, that settle together. It holds its Regions from Add to ReleaseRegions (I2).
 * Not thread-safe, but for Run: chunks of one batch may run on several threads at once. */
class Batch {
 public:
  enum class Kind { kCopy, kChecksum };

  explicit Batch(Kind kind) : kind_(kind) {}
  ~Batch() { ReleaseRegions(); }
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;

  void Reserve(size_t op_count);
  void AddCopy(mooncake_region* from, uint64_t from_offset, mooncake_region* to, uint64_t to_offset,
               uint64_t length_bytes);
  void AddChecksum(mooncake_region* from, uint64_t from_offset, uint64_t length_bytes);

  /* Keeps `region` until ReleaseRegions: once a batch, however many operations name it. */
  void Hold(mooncake_region* region);
  void ReleaseRegions();

  /* The next bytes that nobody has taken yet: at most `chunk_bytes`, but a copy onto itself is one piece. */
  std::optional<Chunk> Take(uint64_t chunk_bytes);
  bool exhausted() const { return next_op_ == ops_.size(); }
  void Run(const Chunk& chunk);

  size_t op_count() const { return ops_.size(); }
  uint64_t length_bytes() const { return length_bytes_; }
  Kind kind() const { return kind_; }
  /* Whatever the one who waits for the batch wants to find in it again. */
  void* context() const { return context_; }
  void set_context(void* context) { context_ = context; }
  /* One per operation, final when every chunk has run. */
  const std::vector<uint32_t>& checksums() const { return checksums_; }

  /* Chunks that were taken and have not been run to their end. The pool counts, under its lock. */
  size_t chunks_running = 0;

 private:
  struct Op {
    const uint8_t* source;
    uint8_t* target;
    uint64_t length_bytes;
    bool Overlaps() const { return source < target + length_bytes && target < source + length_bytes; }
  };

  void RunPiece(size_t op_index, uint64_t offset, uint64_t length_bytes);

  const Kind kind_;
  void* context_ = nullptr;
  std::vector<Op> ops_;
  std::vector<mooncake_region*> regions_;
  std::vector<uint32_t> checksums_;
  uint64_t length_bytes_ = 0;
  size_t next_op_ = 0;
  uint64_t next_offset_ = 0;
};

}  // namespace mooncake
