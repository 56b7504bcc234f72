#pragma once
#include <atomic>
#include <cstdint>
#include <memory>

#include "../region_abi.h"

namespace mooncake {

/* Live counts of one addon instance. Each Region shares them, because a Region may outlive its instance. */
struct RegionStats {
  std::atomic<uint64_t> mapped_regions{0};
  std::atomic<uint64_t> mapped_bytes{0};
  std::atomic<uint64_t> wrapped_regions{0};
};

/* What holds the bytes of a Region. Its destructor gives them back, on whatever thread released last. */
class Backing {
 public:
  virtual ~Backing() = default;
};

class Mapping;

/* The owner's side of a `mooncake_region`. Two counts: *users* keep the bytes, *shells* keep this struct.
 * The struct must outlive the bytes, because a JavaScript handle to a closed Region may still reach an addon. */
class Region final : public mooncake_region {
 public:
  static Region* OfMapping(std::unique_ptr<Mapping> mapping, uint64_t length_bytes, std::shared_ptr<RegionStats> stats);
  static Region* OfBytes(uint8_t* base, uint64_t length_bytes, std::unique_ptr<Backing> backing,
                         std::shared_ptr<RegionStats> stats);

  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

  /* The owner gives up its use. Idempotent. Owner's thread. */
  void Close();
  /* The owner's handle is gone: Close, and let go of the struct. Once. Owner's thread. */
  void Drop();

  /* For one who needs the struct, not the bytes. Any thread. */
  void HoldShell() { shells_.fetch_add(1, std::memory_order_relaxed); }
  void DropShell();

 private:
  Region(uint8_t* base, uint64_t length_bytes, int fd, std::unique_ptr<Backing> backing,
         std::shared_ptr<RegionStats> stats);
  ~Region() = default;

  void Retain();
  void Release();
  void FreeBytes();
  bool is_mapped() const { return fd >= 0; }

  std::unique_ptr<Backing> backing_;
  const std::shared_ptr<RegionStats> stats_;
  const uint64_t backing_bytes_;
  std::atomic<uint64_t> users_{1};
  std::atomic<uint64_t> shells_{1};
  std::atomic<bool> freed_{false};
  bool closed_ = false;
};

}  // namespace mooncake
