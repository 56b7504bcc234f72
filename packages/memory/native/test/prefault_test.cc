#include "../core/prefault.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "check.h"

using namespace mooncake;

namespace {

constexpr uint64_t kPageBytes = 4096;

/* A Region over a file that may be shorter than the mapping, which counts its users. */
struct FileRegion : mooncake_region {
  FileRegion(uint64_t file_bytes, uint64_t mapped_bytes) : mooncake_region{}, mapped_bytes(mapped_bytes) {
    fd = memfd_create("prefault-test", MFD_CLOEXEC);
    CHECK(ftruncate(fd, static_cast<off_t>(file_bytes)) == 0);
    void* mapped = mmap(nullptr, mapped_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(mapped != MAP_FAILED);
    base = static_cast<uint8_t*>(mapped);
    length_bytes = mapped_bytes;
    retain = [](mooncake_region* region) { static_cast<FileRegion*>(region)->users += 1; };
    release = [](mooncake_region* region) { static_cast<FileRegion*>(region)->users -= 1; };
  }
  ~FileRegion() {
    CHECK(users == 0);
    munmap(base, mapped_bytes);
    close(fd);
  }

  uint64_t ResidentPages() const {
    std::vector<unsigned char> pages((mapped_bytes + kPageBytes - 1) / kPageBytes);
    CHECK(mincore(base, mapped_bytes, pages.data()) == 0);
    uint64_t count = 0;
    for (const unsigned char page : pages) count += page & 1;
    return count;
  }

  void Close() { __atomic_store_n(&length_bytes, 0, __ATOMIC_RELAXED); }

  const uint64_t mapped_bytes;
  std::atomic<int> users{0};
};

/* A Prefaulter, and what has finished in it. */
struct Fixture {
  std::atomic<int> notified{0};
  Prefaulter prefaulter{[this] { notified += 1; }};

  std::vector<std::shared_ptr<Prefault>> Finished(size_t count) {
    std::vector<std::shared_ptr<Prefault>> finished;
    while (finished.size() < count) {
      for (auto& prefault : prefaulter.TakeFinished()) finished.push_back(std::move(prefault));
      std::this_thread::yield();
    }
    return finished;
  }
};

void TakesEveryPage() {
  constexpr uint64_t kBytes = (9u << 20) + 100;
  FileRegion region(kBytes + kPageBytes, kBytes);
  FileRegion other(kBytes, kBytes);
  region.base[0] = 1;
  region.base[kBytes - 1] = 2;
  {
    Fixture fixture;
    fixture.prefaulter.Submit(std::make_shared<Prefault>(&region, nullptr));
    fixture.prefaulter.Submit(std::make_shared<Prefault>(&other, nullptr));
    for (const auto& prefault : fixture.Finished(2)) CHECK(prefault->complete() && prefault->error() == 0);
    CHECK(region.users == 0 && other.users == 0);
  }
  CHECK(region.ResidentPages() == kBytes / kPageBytes + 1 && other.ResidentPages() == kBytes / kPageBytes + 1);
  CHECK(region.base[0] == 1 && region.base[kBytes - 1] == 2 && region.base[kBytes / 2] == 0);
}

/* What would be SIGBUS for a thread that touches is an error for one that asks. */
void MemoryThatIsNotThereIsAnError() {
  FileRegion region(kPageBytes, 8u << 20);
  Fixture fixture;
  fixture.prefaulter.Submit(std::make_shared<Prefault>(&region, &region));
  const auto finished = fixture.Finished(1);
  CHECK(!finished[0]->complete() && finished[0]->error() == EFAULT && finished[0]->context() == &region);
}

/* Pieces are taken in turns: a Region that is closed does not wait for those before it. */
void ClosedIsFinishedSoon() {
  constexpr uint64_t kBytes = 1ull << 36;
  FileRegion endless(kBytes, kBytes);
  FileRegion closed(kBytes, kBytes);
  {
    Fixture fixture;
    fixture.prefaulter.Submit(std::make_shared<Prefault>(&endless, nullptr));
    fixture.prefaulter.Submit(std::make_shared<Prefault>(&closed, &closed));
    closed.Close();
    const auto finished = fixture.Finished(1);
    CHECK(finished[0]->context() == &closed && !finished[0]->complete() && finished[0]->error() == 0);
    CHECK(endless.users == 1);
  }
  CHECK(endless.users == 0 && endless.ResidentPages() < kBytes / kPageBytes);
}

void TouchingChangesNothing() {
  constexpr uint64_t kBytes = 1u << 20;
  FileRegion region(2 * kBytes, 2 * kBytes);
  for (uint64_t offset = 0; offset < kBytes; offset += 512) region.base[offset] = static_cast<uint8_t>(offset / 512);
  std::atomic<bool> done{false};
  std::thread writer([&] {
    for (uint8_t value = 0; !done; value++) __atomic_store_n(region.base + kBytes, value, __ATOMIC_RELAXED);
    __atomic_store_n(region.base + kBytes, 77, __ATOMIC_RELAXED);
  });
  CHECK(AllocateAndTouch(region.fd, region.base, 0, kBytes) == 0);
  CHECK(AllocateAndTouch(region.fd, region.base + kBytes, kBytes, kBytes) == 0);
  done = true;
  writer.join();
  CHECK(region.ResidentPages() == 2 * kBytes / kPageBytes);
  CHECK(region.base[kBytes] == 77);
  for (uint64_t offset = 0; offset < kBytes; offset += 512) {
    CHECK(region.base[offset] == static_cast<uint8_t>(offset / 512));
  }
  CHECK(AllocateAndTouch(-1, region.base, 0, kBytes) == EBADF);
}

}  // namespace

void TestPrefault() {
  TakesEveryPage();
  MemoryThatIsNotThereIsAnError();
  ClosedIsFinishedSoon();
  TouchingChangesNothing();
}
