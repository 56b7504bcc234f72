// The physical ceiling of a transfer over TCP: two processes, blocking sockets on loopback, one thread a stream, no
// protocol but a request of 8 bytes before each batch. Both ends walk through pools that no cache holds, as a store does.
//
// Reads commands, one a line, and answers each with a line (`print_answer`):
//
//   <get|put> <object bytes> <objects per batch> <streams> <send buffer bytes, 0: the kernel's own> <milliseconds>
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <iostream>
#include <sstream>
#include <thread>

#include "pool.h"

namespace {

using namespace bench;

constexpr size_t kRunBytesMax = 4 << 20;
/// What is copied, either way, so that a put leaves what a get shall find.
constexpr uint8_t kCopiedByte = 0x5a;
constexpr uint8_t kOtherByte = 0xa5;

/// The first thing that goes over a stream.
struct Setting {
  uint64_t get;
  uint64_t object_bytes;
  uint64_t batch;
  uint64_t streams;
  uint64_t stream;
  uint64_t send_buffer_bytes;
  uint64_t pool_bytes;

  /// Neighbours go in one call where they are small: the kernel is the limit, not the number of calls.
  size_t run_bytes() const { return object_bytes * batch <= kRunBytesMax ? object_bytes * batch : object_bytes; }
  size_t runs() const { return object_bytes * batch / run_bytes(); }

  /// The objects of one stream lie in a part of the pool of their own.
  Cursor cursor(uint8_t *pool) const {
    size_t bytes = pool_bytes / streams;
    return {pool + stream * bytes, bytes};
  }
};

void set_options(int fd, const Setting &setting) {
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  int bytes = static_cast<int>(setting.send_buffer_bytes);
  if (bytes > 0) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

bool receive_all(int fd, void *to, size_t bytes) {
  auto *at = static_cast<uint8_t *>(to);
  while (bytes > 0) {
    ssize_t got = recv(fd, at, bytes, MSG_WAITALL);
    if (got <= 0) return false;
    at += got;
    bytes -= static_cast<size_t>(got);
  }
  return true;
}

void send_all(int fd, const void *from, size_t bytes) {
  auto *at = static_cast<const uint8_t *>(from);
  while (bytes > 0) {
    ssize_t sent = send(fd, at, bytes, MSG_NOSIGNAL);
    if (sent <= 0) die("send");
    at += sent;
    bytes -= static_cast<size_t>(sent);
  }
}

void serve(int fd, uint8_t *pool) {
  Setting setting;
  if (!receive_all(fd, &setting, sizeof setting)) return;
  set_options(fd, setting);
  Cursor cursor = setting.cursor(pool);
  uint64_t request;
  while (receive_all(fd, &request, sizeof request)) {
    for (size_t run = 0; run < setting.runs(); run++) {
      uint8_t *bytes = cursor.next(setting.run_bytes());
      if (setting.get) send_all(fd, bytes, setting.run_bytes());
      else if (!receive_all(fd, bytes, setting.run_bytes())) die("recv");
    }
    if (!setting.get) send_all(fd, &request, sizeof request);
  }
  close(fd);
}

[[noreturn]] void run_server(int listener, size_t pool_bytes) {
  uint8_t *pool = make_pool(pool_bytes, kCopiedByte);
  for (;;) {
    int fd = accept(listener, nullptr, nullptr);
    if (fd < 0) die("accept");
    std::thread(serve, fd, pool).detach();
  }
}

std::vector<double> drive(int fd, uint8_t *pool, const Setting &setting, std::chrono::milliseconds duration) {
  std::vector<double> micros;
  Cursor cursor = setting.cursor(pool);
  uint8_t *bytes = nullptr;
  uint64_t request = 1;
  for (auto end = Clock::now() + duration; Clock::now() < end || micros.empty();) {
    auto begun = Clock::now();
    send_all(fd, &request, sizeof request);
    for (size_t run = 0; run < setting.runs(); run++) {
      bytes = cursor.next(setting.run_bytes());
      if (!setting.get) send_all(fd, bytes, setting.run_bytes());
      else if (!receive_all(fd, bytes, setting.run_bytes())) die("recv");
    }
    if (!setting.get && !receive_all(fd, &request, sizeof request)) die("recv");
    micros.push_back(std::chrono::duration<double, std::micro>(Clock::now() - begun).count());
  }
  if (setting.get && (bytes[0] != kCopiedByte || bytes[setting.run_bytes() - 1] != kCopiedByte)) die("wrong bytes");
  return micros;
}

/// What a get left must not pass for new bytes the next time.
void spoil(uint8_t *pool, size_t pool_bytes) {
  for (size_t at = 0; at < pool_bytes; at += 4096) pool[at] = pool[at + 4095] = kOtherByte;
}

void run_client(const sockaddr_in &address, uint8_t *pool, Setting setting, std::chrono::milliseconds duration) {
  std::vector<int> sockets;
  for (setting.stream = 0; setting.stream < setting.streams; setting.stream++) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    set_options(fd, setting);
    if (connect(fd, reinterpret_cast<const sockaddr *>(&address), sizeof address) != 0) die("connect");
    send_all(fd, &setting, sizeof setting);
    // One batch that does not count.
    drive(fd, pool, setting, std::chrono::milliseconds(0));
    sockets.push_back(fd);
  }
  if (setting.get) spoil(pool, setting.pool_bytes);
  std::vector<std::vector<double>> micros(setting.streams);
  std::vector<std::thread> threads;
  auto begun = Clock::now();
  for (size_t stream = 0; stream < setting.streams; stream++) {
    Setting own = setting;
    own.stream = stream;
    threads.emplace_back([&micros, &sockets, pool, duration, stream, own] {
      micros[stream] = drive(sockets[stream], pool, own, duration);
    });
  }
  for (auto &thread : threads) thread.join();
  double seconds = std::chrono::duration<double>(Clock::now() - begun).count();
  for (int fd : sockets) close(fd);
  std::vector<double> all;
  for (auto &part : micros) all.insert(all.end(), part.begin(), part.end());
  double bytes = static_cast<double>(all.size()) * static_cast<double>(setting.batch * setting.object_bytes);
  print_answer(bytes, seconds, std::move(all));
}

}  // namespace

int main(int argc, char **argv) {
  size_t pool_bytes = pool_bytes_of(argc, argv);
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  if (bind(listener, reinterpret_cast<sockaddr *>(&address), sizeof address) != 0) die("bind");
  if (listen(listener, 16) != 0) die("listen");
  getsockname(listener, reinterpret_cast<sockaddr *>(&address), &length);
  pid_t parent = getpid();
  pid_t server = fork();
  if (server == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) return 1;
    run_server(listener, pool_bytes);
  }
  close(listener);
  uint8_t *to = make_pool(pool_bytes, kOtherByte);
  uint8_t *from = make_pool(pool_bytes, kCopiedByte);
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string operation;
    Setting setting{};
    setting.pool_bytes = pool_bytes;
    int64_t milliseconds = 0;
    words >> operation >> setting.object_bytes >> setting.batch >> setting.streams >> setting.send_buffer_bytes >> milliseconds;
    setting.get = operation == "get";
    if (!words || setting.object_bytes * setting.batch * setting.streams == 0) die("command");
    run_client(address, setting.get ? to : from, setting, std::chrono::milliseconds(milliseconds));
  }
  kill(server, SIGKILL);
  waitpid(server, nullptr, 0);
  return 0;
}
