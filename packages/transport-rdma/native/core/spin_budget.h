#pragma once
#include <algorithm>
#include <cstdint>

namespace mooncake::rdma {

// How long to poll before sleeping until the device wakes us. It grows while completions come sooner than a wake-up is
// worth, and shrinks to nothing while they do not: as Linux polls for halted virtual CPUs (haltpoll).
class SpinBudget {
public:
  explicit SpinBudget(uint64_t maxNs) : maxNs_(maxNs), budgetNs_(maxNs) {}

  uint64_t ns() const { return budgetNs_; }

  // After something came, `waitedNs` after the last thing.
  void came(uint64_t waitedNs) {
    if (waitedNs <= budgetNs_) return;
    if (waitedNs > maxNs_) budgetNs_ /= 2;
    else budgetNs_ = std::min(maxNs_, std::max<uint64_t>(budgetNs_ * 2, kFirstNs));
  }

private:
  static constexpr uint64_t kFirstNs = 5'000;
  const uint64_t maxNs_;
  uint64_t budgetNs_;
};

} // namespace mooncake::rdma
