#pragma once
#include <sys/socket.h>

#include <cstdint>
#include <string>

namespace mooncake::io {

// Small synchronous calls around sockets. All return -errno on failure.

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t bytes = 0;

  // An IPv4 or IPv6 literal. -EINVAL if it is none.
  int setHost(const std::string &host, uint16_t port);
  // -ENAMETOOLONG if it does not fit.
  int setPath(const std::string &path);
};

// Below 0: leave as it is.
struct SocketOptions {
  int sendBufferBytes = -1;
  int receiveBufferBytes = -1;
  int noDelay = -1;
  // Idle time before the peer is probed; 0 turns probing off.
  int keepAliveSeconds = -1;
};

int setSocketOptions(int fd, const SocketOptions &options);
int createSocket(int family, const SocketOptions &options);
int listenSocket(const SocketAddress &address, int backlog, bool reusePort);
// 0 for a unix socket.
int localPort(int fd);
// `host:port`, `[host]:port`, or `unix`.
int socketPeer(int fd, std::string &peer);

} // namespace mooncake::io
