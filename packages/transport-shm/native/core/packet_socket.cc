#include "packet_socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace mooncake::shm {
namespace {

constexpr int kSocketType = SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC;

int AddressOf(const std::string& path, sockaddr_un& address) {
  address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) return -ENAMETOOLONG;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return 0;
}

int CloseWith(int fd, int error) {
  close(fd);
  return error;
}

int BindAndListen(int fd, const std::string& path, int backlog, unsigned mode) {
  sockaddr_un address;
  const std::string hidden = path + "~";
  if (const int error = AddressOf(hidden, address); error != 0) return error;
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) return -errno;
  if (chmod(hidden.c_str(), mode) == 0 && listen(fd, backlog) == 0 && rename(hidden.c_str(), path.c_str()) == 0) {
    return 0;
  }
  const int error = -errno;
  unlink(hidden.c_str());
  return error;
}

void TakeDescriptors(msghdr& message, std::vector<int>& descriptors) {
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t index = 0; index < count; index++) {
      int descriptor = -1;
      std::memcpy(&descriptor, CMSG_DATA(header) + index * sizeof(int), sizeof(int));
      descriptors.push_back(descriptor);
    }
  }
}

}  // namespace

int Listen(const std::string& path, int backlog, unsigned mode) {
  const int fd = socket(AF_UNIX, kSocketType, 0);
  if (fd < 0) return -errno;
  const int error = BindAndListen(fd, path, backlog, mode);
  return error == 0 ? fd : CloseWith(fd, error);
}

int Connect(const std::string& path) {
  sockaddr_un address;
  if (const int error = AddressOf(path, address); error != 0) return error;
  const int fd = socket(AF_UNIX, kSocketType, 0);
  if (fd < 0) return -errno;
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) return fd;
  return CloseWith(fd, -errno);
}

int Accept(int listener) {
  const int fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

int Send(int fd, const uint8_t* bytes, size_t length_bytes, const std::vector<int>& descriptors) {
  if (descriptors.size() > kDescriptorsMax) return -EINVAL;
  iovec vector{const_cast<uint8_t*>(bytes), length_bytes};
  alignas(cmsghdr) char control[CMSG_SPACE(kDescriptorsMax * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  if (!descriptors.empty()) {
    const size_t carried_bytes = descriptors.size() * sizeof(int);
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(carried_bytes);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(carried_bytes);
    std::memcpy(CMSG_DATA(header), descriptors.data(), carried_bytes);
  }
  for (;;) {
    if (sendmsg(fd, &message, MSG_NOSIGNAL) >= 0) return 0;
    if (errno != EINTR) return -errno;
  }
}

ssize_t Receive(int fd, uint8_t* bytes, size_t capacity_bytes, std::vector<int>& descriptors) {
  iovec vector{bytes, capacity_bytes};
  alignas(cmsghdr) char control[CMSG_SPACE(kDescriptorsMax * sizeof(int))];
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  ssize_t received = -1;
  do {
    received = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
  } while (received < 0 && errno == EINTR);
  if (received < 0) return -errno;
  const size_t before = descriptors.size();
  TakeDescriptors(message, descriptors);
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0) return received;
  for (size_t index = before; index < descriptors.size(); index++) close(descriptors[index]);
  descriptors.resize(before);
  return -EMSGSIZE;
}

int PeerUser(int fd, uint32_t& user) {
  ucred credentials{};
  socklen_t length = sizeof(credentials);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) return -errno;
  user = credentials.uid;
  return 0;
}

}  // namespace mooncake::shm
