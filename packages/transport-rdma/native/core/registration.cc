#include "registration.h"

#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace mooncake::rdma {

int Registration::registerNow() {
  errno = 0;
  mr_ = device_.registerMemory(base_, lengthBytes_, kRegionAccess);
  if (mr_ != nullptr) return 0;
  return errno == 0 ? EIO : errno;
}

int Registration::numaNode() const {
  int node = -1;
  const long failed = syscall(SYS_get_mempolicy, &node, nullptr, 0, base_, MPOL_F_NODE | MPOL_F_ADDR);
  return failed == 0 ? node : -1;
}

} // namespace mooncake::rdma
