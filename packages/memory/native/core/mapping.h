#pragma once
#include <sys/mman.h>

#include <cstdint>
#include <string>
#include <vector>

#include "region.h"

namespace mooncake {

/* kDefault: transparent ones where the system allows them, and no word where it does not. */
enum class HugePages { kDefault, kOff, kTransparent, k2MiB, k1GiB };

struct MapOptions {
  uint64_t length_bytes = 0;
  HugePages huge_pages = HugePages::kDefault;
  /* -1: wherever the thread that touches a page first runs. */
  int numa_node = -1;
  /* Shown in /proc/<pid>/maps. */
  std::string label = "region";
};

/* A file descriptor and what it maps, for as long as this object lives. */
class Mapping final : public Backing {
 public:
  /* A new, sealed memfd. What the system cannot give (huge pages, a NUMA node) is left out, with a sentence in
   * `warnings`. Throws std::system_error where there is no memory at all. */
  static std::unique_ptr<Mapping> Create(const MapOptions& options, std::vector<std::string>& warnings);

  /* Somebody else's memfd, by a duplicate of `fd`, for reading. Throws std::invalid_argument where it could shrink
   * under us. */
  static std::unique_ptr<Mapping> FromFd(int fd, uint64_t length_bytes);

  ~Mapping() override;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  int fd() const { return fd_; }
  uint8_t* base() const { return base_; }
  bool read_only() const { return protection_ == PROT_READ; }

 private:
  Mapping(int fd, int protection) : fd_(fd), protection_(protection) {}
  static std::unique_ptr<Mapping> CreateWith(const MapOptions& options, HugePages huge_pages);
  void Map(uint64_t length_bytes);

  const int fd_;
  const int protection_;
  uint8_t* base_ = nullptr;
  uint64_t mapped_bytes_ = 0;
};

}  // namespace mooncake
