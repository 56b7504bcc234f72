#include "sockets.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>

namespace mooncake::io {

namespace {

int setOption(int fd, int level, int name, int value) {
  return setsockopt(fd, level, name, &value, sizeof value) < 0 ? -errno : 0;
}

// Three probes that fit into the idle time once more: a vanished peer is noticed after twice that time.
int setKeepAlive(int fd, int seconds) {
  constexpr int probes = 3;
  const int error = setOption(fd, SOL_SOCKET, SO_KEEPALIVE, seconds > 0 ? 1 : 0);
  if (error != 0 || seconds == 0) return error;
  if (const int idle = setOption(fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds); idle != 0) return idle;
  if (const int interval = setOption(fd, IPPROTO_TCP, TCP_KEEPINTVL, std::max(1, seconds / probes)); interval != 0) {
    return interval;
  }
  return setOption(fd, IPPROTO_TCP, TCP_KEEPCNT, probes);
}

template <typename Address> Address *as(sockaddr_storage &storage) { return reinterpret_cast<Address *>(&storage); }

int bindAndListen(int fd, const SocketAddress &address, int backlog, bool reusePort) {
  if (address.storage.ss_family != AF_UNIX) {
    if (const int error = setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1); error != 0) return error;
    if (const int error = setOption(fd, SOL_SOCKET, SO_REUSEPORT, reusePort ? 1 : 0); error != 0) return error;
  }
  if (bind(fd, reinterpret_cast<const sockaddr *>(&address.storage), address.bytes) < 0) return -errno;
  return listen(fd, backlog) < 0 ? -errno : 0;
}

} // namespace

int SocketAddress::setHost(const std::string &host, uint16_t port) {
  auto *v4 = as<sockaddr_in>(storage);
  if (inet_pton(AF_INET, host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    bytes = sizeof *v4;
    return 0;
  }
  auto *v6 = as<sockaddr_in6>(storage);
  if (inet_pton(AF_INET6, host.c_str(), &v6->sin6_addr) != 1) return -EINVAL;
  v6->sin6_family = AF_INET6;
  v6->sin6_port = htons(port);
  bytes = sizeof *v6;
  return 0;
}

int SocketAddress::setPath(const std::string &path) {
  auto *address = as<sockaddr_un>(storage);
  if (path.empty() || path.size() >= sizeof address->sun_path) return -ENAMETOOLONG;
  address->sun_family = AF_UNIX;
  memcpy(address->sun_path, path.c_str(), path.size() + 1);
  bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  return 0;
}

int setSocketOptions(int fd, const SocketOptions &options) {
  int error = 0;
  if (options.sendBufferBytes >= 0) error = setOption(fd, SOL_SOCKET, SO_SNDBUF, options.sendBufferBytes);
  if (error == 0 && options.receiveBufferBytes >= 0) {
    error = setOption(fd, SOL_SOCKET, SO_RCVBUF, options.receiveBufferBytes);
  }
  if (error == 0 && options.noDelay >= 0) {
    error = setOption(fd, IPPROTO_TCP, TCP_NODELAY, options.noDelay);
    // A unix socket never delays.
    if (error == -EOPNOTSUPP) error = 0;
  }
  if (error == 0 && options.keepAliveSeconds >= 0) {
    error = setKeepAlive(fd, options.keepAliveSeconds);
    if (error == -EOPNOTSUPP) error = 0;
  }
  return error;
}

int createSocket(int family, const SocketOptions &options) {
  const int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  const int error = setSocketOptions(fd, options);
  if (error == 0) return fd;
  close(fd);
  return error;
}

int listenSocket(const SocketAddress &address, int backlog, bool reusePort) {
  const int fd = socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  const int error = bindAndListen(fd, address, backlog, reusePort);
  if (error == 0) return fd;
  close(fd);
  return error;
}

int localPort(int fd) {
  sockaddr_storage storage{};
  socklen_t bytes = sizeof storage;
  if (getsockname(fd, reinterpret_cast<sockaddr *>(&storage), &bytes) < 0) return -errno;
  if (storage.ss_family == AF_INET) return ntohs(as<sockaddr_in>(storage)->sin_port);
  if (storage.ss_family == AF_INET6) return ntohs(as<sockaddr_in6>(storage)->sin6_port);
  return 0;
}

int socketPeer(int fd, std::string &peer) {
  sockaddr_storage storage{};
  socklen_t bytes = sizeof storage;
  if (getpeername(fd, reinterpret_cast<sockaddr *>(&storage), &bytes) < 0) return -errno;
  char text[INET6_ADDRSTRLEN] = "";
  if (storage.ss_family == AF_INET) {
    const auto *v4 = as<sockaddr_in>(storage);
    inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text);
    peer = std::string(text) + ':' + std::to_string(ntohs(v4->sin_port));
  } else if (storage.ss_family == AF_INET6) {
    const auto *v6 = as<sockaddr_in6>(storage);
    inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
    peer = '[' + std::string(text) + "]:" + std::to_string(ntohs(v6->sin6_port));
  } else {
    peer = "unix";
  }
  return 0;
}

} // namespace mooncake::io
