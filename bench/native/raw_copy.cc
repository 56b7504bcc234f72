// The physical ceiling: two processes, blocking sockets on loopback, one thread a stream, no protocol but a request of 8 bytes
// before each batch. Both ends walk through pools that no cache holds, as a store does.
//
//   raw_copy <get|put> <object bytes> <objects per batch> <streams> <milliseconds>
//
// Prints one line: bytes, seconds, and the p50 and p99 of a batch in microseconds.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr size_t kPoolBytes = 512u << 20;
constexpr int kSendBufferBytes = 512 << 10;
constexpr size_t kRunBytesMax = 4 << 20;

using Clock = std::chrono::steady_clock;

[[noreturn]] void die(const char *what) {
  perror(what);
  exit(1);
}

uint8_t *make_pool() {
  void *pool = mmap(nullptr, kPoolBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pool == MAP_FAILED) die("mmap");
  madvise(pool, kPoolBytes, MADV_HUGEPAGE);
  memset(pool, 0x5a, kPoolBytes);
  return static_cast<uint8_t *>(pool);
}

void set_options(int fd) {
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &kSendBufferBytes, sizeof kSendBufferBytes);
}

bool receive_all(int fd, uint8_t *to, size_t bytes) {
  while (bytes > 0) {
    ssize_t got = recv(fd, to, bytes, MSG_WAITALL);
    if (got <= 0) return false;
    to += got;
    bytes -= static_cast<size_t>(got);
  }
  return true;
}

void send_all(int fd, const uint8_t *from, size_t bytes) {
  while (bytes > 0) {
    ssize_t sent = send(fd, from, bytes, MSG_NOSIGNAL);
    if (sent <= 0) die("send");
    from += sent;
    bytes -= static_cast<size_t>(sent);
  }
}

struct Setting {
  bool get;
  size_t object_bytes;
  size_t batch;
  size_t streams;
  std::chrono::milliseconds duration;

  /// Neighbours go in one call where they are small: the kernel is the limit, not the number of calls.
  size_t run_bytes() const { return object_bytes * batch <= kRunBytesMax ? object_bytes * batch : object_bytes; }
  size_t runs() const { return object_bytes * batch / run_bytes(); }
};

/// The objects of one stream lie in a part of the pool of their own.
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

Cursor cursor_of(uint8_t *pool, size_t stream, const Setting &setting) {
  size_t bytes = kPoolBytes / setting.streams;
  return {pool + stream * bytes, bytes};
}

void serve(int fd, Cursor cursor, const Setting &setting) {
  uint64_t request;
  while (receive_all(fd, reinterpret_cast<uint8_t *>(&request), sizeof request)) {
    for (size_t run = 0; run < setting.runs(); run++) {
      uint8_t *bytes = cursor.next(setting.run_bytes());
      if (setting.get) send_all(fd, bytes, setting.run_bytes());
      else if (!receive_all(fd, bytes, setting.run_bytes())) return;
    }
    if (!setting.get) send_all(fd, reinterpret_cast<uint8_t *>(&request), sizeof request);
  }
}

std::vector<double> drive(int fd, Cursor cursor, const Setting &setting) {
  std::vector<double> micros;
  uint64_t request = 1;
  for (auto end = Clock::now() + setting.duration; Clock::now() < end;) {
    auto begun = Clock::now();
    send_all(fd, reinterpret_cast<uint8_t *>(&request), sizeof request);
    for (size_t run = 0; run < setting.runs(); run++) {
      uint8_t *bytes = cursor.next(setting.run_bytes());
      if (!setting.get) send_all(fd, bytes, setting.run_bytes());
      else if (!receive_all(fd, bytes, setting.run_bytes())) die("recv");
    }
    if (!setting.get && !receive_all(fd, reinterpret_cast<uint8_t *>(&request), sizeof request)) die("recv");
    micros.push_back(std::chrono::duration<double, std::micro>(Clock::now() - begun).count());
  }
  return micros;
}

int run_server(int listener, const Setting &setting) {
  uint8_t *pool = make_pool();
  std::vector<std::thread> threads;
  for (size_t stream = 0; stream < setting.streams; stream++) {
    int fd = accept(listener, nullptr, nullptr);
    if (fd < 0) die("accept");
    set_options(fd);
    threads.emplace_back([=] { serve(fd, cursor_of(pool, stream, setting), setting); });
  }
  for (auto &thread : threads) thread.join();
  return 0;
}

void run_client(const sockaddr_in &address, const Setting &setting) {
  uint8_t *pool = make_pool();
  std::vector<int> sockets;
  for (size_t stream = 0; stream < setting.streams; stream++) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    set_options(fd);
    if (connect(fd, reinterpret_cast<const sockaddr *>(&address), sizeof address) != 0) die("connect");
    sockets.push_back(fd);
  }
  // One batch that does not count, so that the server has its pool.
  for (int fd : sockets) {
    Setting once = setting;
    once.duration = std::chrono::milliseconds(1);
    drive(fd, cursor_of(pool, 0, once), once);
  }
  std::vector<std::vector<double>> micros(setting.streams);
  std::vector<std::thread> threads;
  auto begun = Clock::now();
  for (size_t stream = 0; stream < setting.streams; stream++) {
    threads.emplace_back([&, stream] { micros[stream] = drive(sockets[stream], cursor_of(pool, stream, setting), setting); });
  }
  for (auto &thread : threads) thread.join();
  double seconds = std::chrono::duration<double>(Clock::now() - begun).count();
  for (int fd : sockets) close(fd);
  std::vector<double> all;
  for (auto &part : micros) all.insert(all.end(), part.begin(), part.end());
  std::sort(all.begin(), all.end());
  double bytes = static_cast<double>(all.size()) * static_cast<double>(setting.batch * setting.object_bytes);
  printf("%.0f %.6f %.1f %.1f\n", bytes, seconds, all[all.size() / 2], all[all.size() * 99 / 100]);
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 6) {
    fprintf(stderr, "usage: raw_copy get|put OBJECT_BYTES OBJECTS_PER_BATCH STREAMS MILLISECONDS\n");
    return 2;
  }
  Setting setting{std::string(argv[1]) == "get", strtoull(argv[2], nullptr, 10), strtoull(argv[3], nullptr, 10),
                  strtoull(argv[4], nullptr, 10), std::chrono::milliseconds(strtoll(argv[5], nullptr, 10))};
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  if (bind(listener, reinterpret_cast<sockaddr *>(&address), sizeof address) != 0) die("bind");
  if (listen(listener, 16) != 0) die("listen");
  getsockname(listener, reinterpret_cast<sockaddr *>(&address), &length);
  pid_t server = fork();
  if (server == 0) return run_server(listener, setting);
  close(listener);
  run_client(address, setting);
  waitpid(server, nullptr, 0);
  return 0;
}
