#include "mapping.h"

#include <fcntl.h>
#include <linux/memfd.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <system_error>

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

namespace mooncake {
namespace {

constexpr uint64_t kAlignmentBytes = 2u << 20;
constexpr uint64_t kHuge1GiBBytes = 1u << 30;
constexpr int kNumaNodeMax = 1023;

[[noreturn]] void ThrowErrno(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

uint64_t RoundUp(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

uint64_t PageBytes(HugePages huge_pages) {
  if (huge_pages == HugePages::k1GiB) return kHuge1GiBBytes;
  if (huge_pages == HugePages::k2MiB) return kAlignmentBytes;
  return static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

unsigned MemfdFlags(HugePages huge_pages) {
  unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  if (huge_pages == HugePages::k2MiB) flags |= MFD_HUGETLB | MFD_HUGE_2MB;
  if (huge_pages == HugePages::k1GiB) flags |= MFD_HUGETLB | MFD_HUGE_1GB;
  return flags;
}

void AdviseHugePages(uint8_t* base, uint64_t length_bytes, std::vector<std::string>& warnings) {
  if (madvise(base, length_bytes, MADV_HUGEPAGE) != 0) {
    warnings.push_back(std::string("No transparent huge pages: madvise: ") + std::strerror(errno));
    return;
  }
  const char* path = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
  std::string policy;
  std::ifstream file(path);
  if (!std::getline(file, policy)) return;
  if (policy.find("[never]") != std::string::npos || policy.find("[deny]") != std::string::npos) {
    warnings.push_back(std::string("Only prefault makes huge pages: ") + path + " does not allow them; write 'advise' to it");
  }
}

/* By a raw system call: libnuma would be one more library to ship, for this alone. */
void PreferNumaNode(uint8_t* base, uint64_t length_bytes, int node, std::vector<std::string>& warnings) {
  constexpr int kWordBits = 8 * sizeof(unsigned long);
  unsigned long mask[(kNumaNodeMax + 1) / kWordBits] = {};
  if (node > kNumaNodeMax) {
    warnings.push_back("Memory is not bound to NUMA node " + std::to_string(node) + ": there is no such node");
    return;
  }
  mask[node / kWordBits] |= 1ul << (node % kWordBits);
  if (syscall(SYS_mbind, base, length_bytes, MPOL_PREFERRED, mask, kNumaNodeMax + 2ul, 0u) != 0) {
    warnings.push_back("Memory is not bound to NUMA node " + std::to_string(node) + ": mbind: " + std::strerror(errno));
  }
}

/* Our own mapping stays writable; nobody who gets the descriptor can make another one that is, nor take the seals off.
 * Kernels before 5.1 cannot promise the first. */
void SealAgainstWriters(int fd) {
  if (fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) == 0) return;
  if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL) != 0) ThrowErrno("fcntl(F_ADD_SEALS)");
}

}  // namespace

std::unique_ptr<Mapping> Mapping::Create(const MapOptions& options, std::vector<std::string>& warnings) {
  std::unique_ptr<Mapping> mapping;
  HugePages huge_pages = options.huge_pages;
  if (huge_pages == HugePages::k2MiB || huge_pages == HugePages::k1GiB) {
    try {
      mapping = CreateWith(options, huge_pages);
    } catch (const std::system_error& error) {
      const char* size = huge_pages == HugePages::k1GiB ? "1 GiB" : "2 MiB";
      warnings.push_back(std::string("No reserved huge pages of ") + size + ": " + error.what() +
                         "; using transparent ones");
      huge_pages = HugePages::kTransparent;
    }
  }
  if (!mapping) mapping = CreateWith(options, huge_pages);
  std::vector<std::string> unasked;
  if (huge_pages == HugePages::kTransparent) AdviseHugePages(mapping->base_, mapping->mapped_bytes_, warnings);
  if (huge_pages == HugePages::kDefault) AdviseHugePages(mapping->base_, mapping->mapped_bytes_, unasked);
  if (huge_pages == HugePages::kOff) (void)madvise(mapping->base_, mapping->mapped_bytes_, MADV_NOHUGEPAGE);
  if (options.numa_node >= 0) PreferNumaNode(mapping->base_, mapping->mapped_bytes_, options.numa_node, warnings);
  return mapping;
}

std::unique_ptr<Mapping> Mapping::CreateWith(const MapOptions& options, HugePages huge_pages) {
  const std::string name = "mooncake:" + options.label.substr(0, 200);
  const int fd = static_cast<int>(syscall(SYS_memfd_create, name.c_str(), MemfdFlags(huge_pages)));
  if (fd < 0) ThrowErrno("memfd_create");
  std::unique_ptr<Mapping> mapping(new Mapping(fd, PROT_READ | PROT_WRITE));
  const uint64_t file_bytes = RoundUp(options.length_bytes, PageBytes(huge_pages));
  if (ftruncate(fd, static_cast<off_t>(file_bytes)) != 0) {
    ThrowErrno("ftruncate to " + std::to_string(file_bytes) + " bytes");
  }
  /* Whoever gets this descriptor can then never make an access of ours end in SIGBUS. */
  if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) ThrowErrno("fcntl(F_ADD_SEALS)");
  mapping->Map(file_bytes);
  SealAgainstWriters(fd);
  return mapping;
}

std::unique_ptr<Mapping> Mapping::FromFd(int fd, uint64_t length_bytes) {
  const int own_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (own_fd < 0) throw std::invalid_argument(std::string("The descriptor cannot be used: ") + std::strerror(errno));
  std::unique_ptr<Mapping> mapping(new Mapping(own_fd, PROT_READ));
  const int seals = fcntl(own_fd, F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0) {
    throw std::invalid_argument("The descriptor is not a memfd sealed against shrinking");
  }
  struct stat file {};
  if (fstat(own_fd, &file) != 0) ThrowErrno("fstat");
  if (static_cast<uint64_t>(file.st_size) < length_bytes) {
    throw std::invalid_argument("The memfd has " + std::to_string(file.st_size) + " bytes, fewer than " +
                                std::to_string(length_bytes));
  }
  /* On hugetlbfs, st_blksize is the size of its pages, and only whole pages can be mapped. */
  mapping->Map(RoundUp(length_bytes, static_cast<uint64_t>(file.st_blksize)));
  return mapping;
}

/* Reserves more addresses than needed, maps the file at the first boundary of a huge page in them, and returns the rest:
 * the kernel uses huge pages only where file offset and address agree. */
void Mapping::Map(uint64_t length_bytes) {
  const uint64_t alignment_bytes = length_bytes % kHuge1GiBBytes == 0 ? kHuge1GiBBytes : kAlignmentBytes;
  const uint64_t reserved_bytes = length_bytes + alignment_bytes;
  const std::string what = "mmap of " + std::to_string(length_bytes) + " bytes";
  void* reserved = mmap(nullptr, reserved_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) ThrowErrno(what);
  auto* start = static_cast<uint8_t*>(reserved);
  auto* aligned = reinterpret_cast<uint8_t*>(RoundUp(reinterpret_cast<uintptr_t>(start), alignment_bytes));
  void* base = mmap(aligned, length_bytes, protection_, MAP_SHARED | MAP_FIXED, fd_, 0);
  if (base == MAP_FAILED) {
    const int number = errno;
    munmap(reserved, reserved_bytes);
    errno = number;
    ThrowErrno(what);
  }
  const uint64_t head_bytes = static_cast<uint64_t>(aligned - start);
  const uint64_t mapped_bytes = RoundUp(length_bytes, static_cast<uint64_t>(sysconf(_SC_PAGESIZE)));
  const uint64_t tail_bytes = reserved_bytes - head_bytes - mapped_bytes;
  if (head_bytes > 0) munmap(start, head_bytes);
  if (tail_bytes > 0) munmap(aligned + mapped_bytes, tail_bytes);
  base_ = static_cast<uint8_t*>(base);
  mapped_bytes_ = mapped_bytes;
}

Mapping::~Mapping() {
  if (base_ != nullptr) munmap(base_, mapped_bytes_);
  close(fd_);
}

}  // namespace mooncake
