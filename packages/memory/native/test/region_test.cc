#include "../core/region.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <vector>

#include "../core/mapping.h"
#include "check.h"

using namespace mooncake;

namespace {

struct CountedBacking final : Backing {
  explicit CountedBacking(int* freed) : freed_(freed) {}
  ~CountedBacking() override { *freed_ += 1; }
  int* freed_;
};

void BytesOutliveCloseWhileRetained() {
  auto stats = std::make_shared<RegionStats>();
  std::vector<std::string> warnings;
  MapOptions options;
  options.length_bytes = 10'000;
  Region* region = Region::OfMapping(Mapping::Create(options, warnings), options.length_bytes, stats);
  CHECK(stats->mapped_regions == 1 && stats->mapped_bytes == 10'000);
  CHECK(reinterpret_cast<uintptr_t>(region->base) % (2u << 20) == 0);
  CHECK(region->fd >= 0 && region->length_bytes == 10'000);

  region->retain(region);
  region->Close();
  region->Close();
  CHECK(region->length_bytes == 0);
  std::memset(region->base, 7, 10'000);
  region->Drop();
  CHECK(stats->mapped_regions == 1);
  std::thread([region] { region->release(region); }).join();
  CHECK(stats->mapped_regions == 0 && stats->mapped_bytes == 0);
}

/* An empty operation passes the bounds check of a closed Region; the bytes must not be freed again. */
void EmptyUseAfterCloseIsHarmless() {
  auto stats = std::make_shared<RegionStats>();
  int freed = 0;
  Region* region = Region::OfBytes(nullptr, 0, std::make_unique<CountedBacking>(&freed), stats);
  CHECK(stats->wrapped_regions == 1);
  region->Close();
  CHECK(freed == 1 && stats->wrapped_regions == 0);
  region->retain(region);
  region->release(region);
  CHECK(freed == 1);
  region->Drop();
}

void ManyThreadsRetainAndRelease() {
  auto stats = std::make_shared<RegionStats>();
  int freed = 0;
  uint8_t byte = 0;
  Region* region = Region::OfBytes(&byte, 1, std::make_unique<CountedBacking>(&freed), stats);
  std::vector<std::thread> threads;
  for (int index = 0; index < 4; index++) {
    region->retain(region);
    threads.emplace_back([region] {
      for (int round = 0; round < 10'000; round++) {
        region->retain(region);
        region->release(region);
      }
      region->release(region);
    });
  }
  region->Drop();
  for (std::thread& thread : threads) thread.join();
  CHECK(freed == 1);
}

template <typename Error, typename Call>
bool Throws(Call call) {
  try {
    call();
  } catch (const Error&) {
    return true;
  }
  return false;
}

void WhatTheSystemLacksIsAWarning() {
  MapOptions options;
  options.length_bytes = 4096;
  options.numa_node = 1000;
  for (HugePages huge_pages : {HugePages::kDefault, HugePages::kOff, HugePages::k2MiB, HugePages::k1GiB}) {
    options.huge_pages = huge_pages;
    std::vector<std::string> warnings;
    auto mapping = Mapping::Create(options, warnings);
    std::memset(mapping->base(), 1, 4096);
    CHECK(!warnings.empty());
    CHECK(warnings.back().find("NUMA node 1000") != std::string::npos);
  }
  std::vector<std::string> warnings;
  options.length_bytes = 1ull << 62;
  CHECK(Throws<std::system_error>([&] { Mapping::Create(options, warnings); }));
}

void MapsTheMemfdOfAnother() {
  MapOptions options;
  options.length_bytes = 5000;
  std::vector<std::string> warnings;
  auto mapping = Mapping::Create(options, warnings);
  auto other = Mapping::FromFd(mapping->fd(), 5000);
  CHECK(other->base() != mapping->base());
  CHECK(other->read_only() && !mapping->read_only());
  mapping->base()[4999] = 42;
  CHECK(other->base()[4999] == 42);
  mapping.reset();
  CHECK(other->base()[4999] == 42);

  CHECK(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, other->fd(), 0) == MAP_FAILED);
  CHECK(ftruncate(other->fd(), 0) != 0);
  CHECK(Throws<std::invalid_argument>([&] { Mapping::FromFd(other->fd(), 1'000'000); }));
  CHECK(Throws<std::invalid_argument>([] { Mapping::FromFd(-1, 1); }));
  const int unsealed = memfd_create("unsealed", MFD_CLOEXEC);
  CHECK(ftruncate(unsealed, 4096) == 0);
  CHECK(Throws<std::invalid_argument>([&] { Mapping::FromFd(unsealed, 4096); }));
  close(unsealed);
}

}  // namespace

void TestRegion() {
  BytesOutliveCloseWhileRetained();
  EmptyUseAfterCloseIsHarmless();
  ManyThreadsRetainAndRelease();
}

void TestMapping() {
  WhatTheSystemLacksIsAWarning();
  MapsTheMemfdOfAnother();
}
