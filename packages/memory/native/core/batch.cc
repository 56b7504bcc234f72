#include "batch.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "crc32c.h"
#include "stream_copy.h"

namespace mooncake {
namespace {

/* Smaller ones may be wanted from a cache soon. */
constexpr uint64_t kStreamBytesMin = 256 << 10;

}  // namespace

void Batch::Reserve(size_t op_count) {
  ops_.reserve(op_count);
  if (kind_ == Kind::kChecksum) checksums_.reserve(op_count);
}

void Batch::AddCopy(mooncake_region* from, uint64_t from_offset, mooncake_region* to, uint64_t to_offset,
                    uint64_t length_bytes) {
  ops_.push_back({from->base + from_offset, to->base + to_offset, length_bytes});
  length_bytes_ += length_bytes;
}

void Batch::AddChecksum(mooncake_region* from, uint64_t from_offset, uint64_t length_bytes) {
  ops_.push_back({from->base + from_offset, nullptr, length_bytes});
  checksums_.push_back(0);
  length_bytes_ += length_bytes;
}

void Batch::Hold(mooncake_region* region) {
  region->retain(region);
  regions_.push_back(region);
}

void Batch::ReleaseRegions() {
  for (mooncake_region* region : regions_) region->release(region);
  regions_.clear();
}

std::optional<Chunk> Batch::Take(uint64_t chunk_bytes) {
  if (exhausted()) return std::nullopt;
  Chunk chunk{next_op_, next_offset_, 0};
  while (!exhausted() && chunk.length_bytes < chunk_bytes) {
    const Op& op = ops_[next_op_];
    const uint64_t rest_bytes = op.length_bytes - next_offset_;
    const bool whole = kind_ == Kind::kCopy && op.Overlaps();
    const uint64_t piece_bytes = whole ? rest_bytes : std::min(rest_bytes, chunk_bytes - chunk.length_bytes);
    chunk.length_bytes += piece_bytes;
    next_offset_ += piece_bytes;
    if (next_offset_ == op.length_bytes) {
      next_op_ += 1;
      next_offset_ = 0;
    }
  }
  return chunk;
}

void Batch::Run(const Chunk& chunk) {
  uint64_t offset = chunk.first_offset;
  uint64_t left_bytes = chunk.length_bytes;
  for (size_t op_index = chunk.first_op; left_bytes > 0; op_index++, offset = 0) {
    const uint64_t piece_bytes = std::min(left_bytes, ops_[op_index].length_bytes - offset);
    if (piece_bytes > 0) RunPiece(op_index, offset, piece_bytes);
    left_bytes -= piece_bytes;
  }
}

void Batch::RunPiece(size_t op_index, uint64_t offset, uint64_t length_bytes) {
  const Op& op = ops_[op_index];
  if (kind_ == Kind::kCopy) {
    if (op.length_bytes >= kStreamBytesMin && !op.Overlaps()) {
      StreamCopy(op.target + offset, op.source + offset, length_bytes);
    } else {
      std::memmove(op.target + offset, op.source + offset, length_bytes);
    }
    return;
  }
  const uint32_t crc = Crc32c(0, op.source + offset, length_bytes);
  const uint32_t share = Crc32cShift(crc, op.length_bytes - offset - length_bytes);
  std::atomic_ref<uint32_t>(checksums_[op_index]).fetch_xor(share, std::memory_order_relaxed);
}

}  // namespace mooncake
