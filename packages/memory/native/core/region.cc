#include "region.h"

#include "mapping.h"

namespace mooncake {

Region* Region::OfMapping(std::unique_ptr<Mapping> mapping, uint64_t length_bytes,
                          std::shared_ptr<RegionStats> stats) {
  uint8_t* base = mapping->base();
  const int fd = mapping->fd();
  const uint32_t flags = mapping->read_only() ? MOONCAKE_REGION_READ_ONLY : 0;
  auto* region = new Region(base, length_bytes, fd, std::move(mapping), std::move(stats));
  region->flags = flags;
  return region;
}

Region* Region::OfBytes(uint8_t* base, uint64_t length_bytes, std::unique_ptr<Backing> backing,
                        std::shared_ptr<RegionStats> stats) {
  return new Region(base, length_bytes, -1, std::move(backing), std::move(stats));
}

Region::Region(uint8_t* base_address, uint64_t byte_count, int descriptor, std::unique_ptr<Backing> backing,
               std::shared_ptr<RegionStats> stats)
    : mooncake_region{}, backing_(std::move(backing)), stats_(std::move(stats)), backing_bytes_(byte_count) {
  abi_version = MOONCAKE_REGION_ABI_VERSION;
  struct_bytes = sizeof(mooncake_region);
  base = base_address;
  length_bytes = byte_count;
  memory_kind = MOONCAKE_MEMORY_HOST;
  fd = descriptor;
  retain = [](mooncake_region* region) { static_cast<Region*>(region)->Retain(); };
  release = [](mooncake_region* region) { static_cast<Region*>(region)->Release(); };
  owner = this;
  if (is_mapped()) {
    stats_->mapped_regions += 1;
    stats_->mapped_bytes += backing_bytes_;
  } else {
    stats_->wrapped_regions += 1;
  }
}

void Region::Close() {
  if (closed_) return;
  closed_ = true;
  /* From here on, every bounds check of a new operation fails. Those in flight have passed theirs. */
  __atomic_store_n(&length_bytes, 0, __ATOMIC_RELAXED);
  if (users_.fetch_sub(1, std::memory_order_acq_rel) == 1) FreeBytes();
}

void Region::Drop() {
  Close();
  DropShell();
}

void Region::Retain() {
  HoldShell();
  users_.fetch_add(1, std::memory_order_relaxed);
}

void Region::Release() {
  if (users_.fetch_sub(1, std::memory_order_acq_rel) == 1) FreeBytes();
  DropShell();
}

/* Users can reach zero twice: an empty operation passes the bounds check of a closed Region. */
void Region::FreeBytes() {
  if (freed_.exchange(true, std::memory_order_acq_rel)) return;
  if (is_mapped()) {
    stats_->mapped_regions -= 1;
    stats_->mapped_bytes -= backing_bytes_;
  } else {
    stats_->wrapped_regions -= 1;
  }
  backing_.reset();
}

void Region::DropShell() {
  if (shells_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
}

}  // namespace mooncake
