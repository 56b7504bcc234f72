#pragma once
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

/* Unix sockets that keep the bounds of messages and carry file descriptors (SOCK_SEQPACKET, SCM_RIGHTS). All are
 * non-blocking and close-on-exec. Functions give -errno where they fail. */
namespace mooncake::shm {

/* What the kernel takes in one message is more; we send one or two. */
constexpr size_t kDescriptorsMax = 16;

/* The socket appears under `path` only once it listens, so that whoever finds it refused knows it is dead. */
int Listen(const std::string& path, int backlog, unsigned mode);
int Connect(const std::string& path);
int Accept(int listener);

/* The whole message, or none of it: -EAGAIN while the peer has too much to read. */
int Send(int fd, const uint8_t* bytes, size_t length_bytes, const std::vector<int>& descriptors);

/* The length of the next message, 0 when the peer has hung up. Appends descriptors, which are the caller's then. A
 * message that is longer than `capacity_bytes`, or has more descriptors than we send, is -EMSGSIZE. */
ssize_t Receive(int fd, uint8_t* bytes, size_t capacity_bytes, std::vector<int>& descriptors);

/* The user that the other end ran as when it connected, or listened. */
int PeerUser(int fd, uint32_t& user);

}  // namespace mooncake::shm
