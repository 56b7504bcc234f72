#pragma once
#include <region_abi.h>

#include "device.h"

namespace mooncake::rdma {

// Memory of a Region that a device knows. Retains the Region for as long as the device may touch it (I2).
class Registration {
public:
  // The caller has retained `region`.
  Registration(const Device &device, mooncake_region *region, uint8_t *base, uint64_t lengthBytes)
      : device_(device), region_(region), base_(base), lengthBytes_(lengthBytes) {}
  Registration(const Registration &) = delete;
  Registration &operator=(const Registration &) = delete;
  ~Registration() {
    if (mr_ != nullptr) device_.deregister(mr_);
    region_->release(region_);
  }

  // 0 or an errno. Takes from microseconds to seconds.
  int registerNow();

  uint8_t *base() const { return base_; }
  uint64_t lengthBytes() const { return lengthBytes_; }
  uint32_t localKey() const { return mr_->lkey; }
  uint32_t remoteKey() const { return mr_->rkey; }

  // Of the first page, or -1.
  int numaNode() const;

private:
  const Device &device_;
  mooncake_region *const region_;
  uint8_t *const base_;
  const uint64_t lengthBytes_;
  ibv_mr *mr_ = nullptr;
};

} // namespace mooncake::rdma
