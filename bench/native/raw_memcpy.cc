// The physical ceiling of a transfer through shared memory: copies between two pools that no cache holds.
//
// Reads commands, one a line, and answers each with a line (`print_answer`):
//
//   <anonymous|memfd: kind of the source> <object bytes> <threads> <milliseconds>
#include <unistd.h>

#include <iostream>
#include <sstream>
#include <thread>

#include "pool.h"

namespace {

using namespace bench;

constexpr uint8_t kSourceByte = 0x5a;

struct Copier {
  uint8_t *to;
  const uint8_t *from;
  size_t pool_bytes;
  size_t object_bytes;

  /// Objects one after another through a part of both pools.
  std::vector<double> run(size_t thread, size_t threads, std::chrono::milliseconds duration) const {
    size_t part = pool_bytes / threads;
    Cursor cursor{to + thread * part, part};
    std::vector<double> micros;
    uint8_t *bytes = nullptr;
    for (auto end = Clock::now() + duration; Clock::now() < end || micros.empty();) {
      auto begun = Clock::now();
      bytes = cursor.next(object_bytes);
      memcpy(bytes, from + (bytes - to), object_bytes);
      micros.push_back(std::chrono::duration<double, std::micro>(Clock::now() - begun).count());
    }
    if (bytes[0] != kSourceByte || bytes[object_bytes - 1] != kSourceByte) die("wrong bytes");
    return micros;
  }
};

uint8_t *make_shared_pool(size_t pool_bytes) {
  int fd = memfd_create("bench", 0);
  if (fd < 0 || ftruncate(fd, static_cast<off_t>(pool_bytes)) != 0) die("memfd");
  uint8_t *pool = make_pool(pool_bytes, kSourceByte, fd);
  close(fd);
  return pool;
}

void run(const Copier &copier, size_t thread_count, std::chrono::milliseconds duration) {
  std::vector<std::vector<double>> micros(thread_count);
  std::vector<std::thread> threads;
  auto begun = Clock::now();
  for (size_t thread = 0; thread < thread_count; thread++) {
    threads.emplace_back([&, thread] { micros[thread] = copier.run(thread, thread_count, duration); });
  }
  for (auto &thread : threads) thread.join();
  double seconds = std::chrono::duration<double>(Clock::now() - begun).count();
  std::vector<double> all;
  for (auto &part : micros) all.insert(all.end(), part.begin(), part.end());
  double bytes = static_cast<double>(all.size()) * static_cast<double>(copier.object_bytes);
  print_answer(bytes, seconds, std::move(all));
}

}  // namespace

int main(int argc, char **argv) {
  size_t pool_bytes = pool_bytes_of(argc, argv);
  uint8_t *to = make_pool(pool_bytes, 0);
  uint8_t *anonymous = nullptr;
  uint8_t *shared = nullptr;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string kind;
    size_t object_bytes = 0, threads = 0;
    int64_t milliseconds = 0;
    words >> kind >> object_bytes >> threads >> milliseconds;
    if (!words || object_bytes * threads == 0) die("command");
    if (kind == "memfd" && shared == nullptr) shared = make_shared_pool(pool_bytes);
    if (kind == "anonymous" && anonymous == nullptr) anonymous = make_pool(pool_bytes, kSourceByte);
    run({to, kind == "memfd" ? shared : anonymous, pool_bytes, object_bytes}, threads, std::chrono::milliseconds(milliseconds));
  }
  return 0;
}
