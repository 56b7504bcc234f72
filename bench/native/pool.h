// What the programs of the ceilings share: pools that no cache holds, and walks through them.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace bench {

using Clock = std::chrono::steady_clock;

[[noreturn]] inline void die(const char *what) {
  perror(what);
  exit(1);
}

/// Every page is there before anything is measured.
inline uint8_t *make_pool(size_t pool_bytes, uint8_t fill, int fd = -1) {
  int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
  void *pool = mmap(nullptr, pool_bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
  if (pool == MAP_FAILED) die("mmap");
  madvise(pool, pool_bytes, MADV_HUGEPAGE);
  memset(pool, fill, pool_bytes);
  return static_cast<uint8_t *>(pool);
}

/// Walks round and round through a part of a pool.
struct Cursor {
  uint8_t *base;
  size_t bytes;
  size_t at = 0;

  uint8_t *next(size_t run_bytes) {
    if (at + run_bytes > bytes) at = 0;
    uint8_t *run = base + at;
    at += run_bytes;
    return run;
  }
};

/// One answer line: bytes, seconds, and the p50 and p99 of a call in microseconds.
inline void print_answer(double bytes, double seconds, std::vector<double> micros) {
  std::sort(micros.begin(), micros.end());
  printf("%.0f %.6f %.1f %.1f\n", bytes, seconds, micros[micros.size() / 2], micros[micros.size() * 99 / 100]);
  fflush(stdout);
}

/// The only argument of the programs.
inline size_t pool_bytes_of(int argc, char **argv) {
  size_t pool_bytes = argc == 2 ? strtoull(argv[1], nullptr, 10) : 0;
  if (pool_bytes > 0) return pool_bytes;
  fprintf(stderr, "usage: %s POOL_BYTES\n", argv[0]);
  exit(2);
}

}  // namespace bench
