#include "../core/packet_socket.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>

using namespace mooncake::shm;

/* Unlike assert, in every build. */
#define CHECK(condition)                                                          \
  do {                                                                            \
    if (!(condition)) {                                                           \
      std::fprintf(stderr, "%s:%d: CHECK(%s)\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                               \
    }                                                                             \
  } while (false)

namespace {

struct Pair {
  Pair() { CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends) == 0); }
  ~Pair() {
    close(ends[0]);
    close(ends[1]);
  }
  int ends[2];
};

bool IsOpen(int fd) { return fcntl(fd, F_GETFD) >= 0; }

void MessagesKeepTheirBoundsAndCarryDescriptors() {
  Pair pair;
  const int memfd = memfd_create("carried", MFD_CLOEXEC);
  CHECK(ftruncate(memfd, 123) == 0);
  const uint8_t bytes[] = {1, 2, 3, 4};
  CHECK(Send(pair.ends[0], bytes, 3, {memfd, memfd}) == 0);
  CHECK(Send(pair.ends[0], bytes, 4, {}) == 0);
  close(memfd);

  uint8_t received[16];
  std::vector<int> descriptors;
  CHECK(Receive(pair.ends[1], received, sizeof(received), descriptors) == 3);
  CHECK(descriptors.size() == 2 && received[2] == 3);
  struct stat file {};
  for (const int descriptor : descriptors) {
    CHECK(fstat(descriptor, &file) == 0 && file.st_size == 123);
    CHECK((fcntl(descriptor, F_GETFD) & FD_CLOEXEC) != 0);
    close(descriptor);
  }
  descriptors.clear();
  CHECK(Receive(pair.ends[1], received, sizeof(received), descriptors) == 4 && descriptors.empty());
  CHECK(Receive(pair.ends[1], received, sizeof(received), descriptors) == -EAGAIN);
}

/* What does not fit is an error, and its descriptors do not stay. */
void TooLongIsAnError() {
  Pair pair;
  const uint8_t bytes[64] = {};
  CHECK(Send(pair.ends[0], bytes, sizeof(bytes), {pair.ends[0]}) == 0);
  uint8_t received[16];
  std::vector<int> descriptors;
  const int next = dup(0);
  close(next);
  CHECK(Receive(pair.ends[1], received, sizeof(received), descriptors) == -EMSGSIZE);
  CHECK(descriptors.empty() && !IsOpen(next));
  CHECK(Send(pair.ends[0], bytes, 1, std::vector<int>(kDescriptorsMax + 1, 0)) == -EINVAL);
}

void FullAndGoneAreTold() {
  Pair pair;
  const std::vector<uint8_t> bytes(16'384);
  int sent = 0;
  int result = 0;
  while ((result = Send(pair.ends[0], bytes.data(), bytes.size(), {})) == 0) CHECK(++sent < 10'000);
  CHECK(result == -EAGAIN && sent > 0);
  shutdown(pair.ends[1], SHUT_RDWR);
  CHECK(Send(pair.ends[0], bytes.data(), 1, {}) == -EPIPE);
  std::vector<int> descriptors;
  uint8_t byte = 0;
  CHECK(Receive(pair.ends[0], &byte, 1, descriptors) == 0);
}

void ListensUnderItsNameOnly() {
  char directory[] = "/tmp/packet-socket-XXXXXX";
  CHECK(mkdtemp(directory) != nullptr);
  const std::string path = std::string(directory) + "/s.sock";
  CHECK(Connect(path) == -ENOENT);
  const int listener = Listen(path, 8, 0600);
  CHECK(listener >= 0);
  struct stat file {};
  CHECK(stat(path.c_str(), &file) == 0 && (file.st_mode & 0777) == 0600);
  CHECK(stat((path + "~").c_str(), &file) != 0);
  CHECK(Accept(listener) == -EAGAIN);
  const int client = Connect(path);
  const int server = Accept(listener);
  CHECK(client >= 0 && server >= 0);
  uint32_t user = 12345;
  CHECK(PeerUser(client, user) == 0 && user == geteuid());
  CHECK(PeerUser(server, user) == 0 && user == geteuid());
  for (const int fd : {client, server, listener}) close(fd);
  CHECK(Connect(path) == -ECONNREFUSED);
  CHECK(unlink(path.c_str()) == 0);
  CHECK(Listen(std::string(directory) + "/none/s", 8, 0600) == -ENOENT);
  CHECK(Listen(std::string(200, 'x'), 8, 0600) == -ENAMETOOLONG);
  CHECK(Connect("") == -ENAMETOOLONG);
  CHECK(rmdir(directory) == 0);
}

}  // namespace

int main() {
  MessagesKeepTheirBoundsAndCarryDescriptors();
  TooLongIsAnError();
  FullAndGoneAreTold();
  ListensUnderItsNameOnly();
  std::puts("native tests passed");
}
