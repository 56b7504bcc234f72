#pragma once
#include "executor.h"
#include "ring_driver.h"

namespace mooncake::io {

// The JavaScript thread itself enters the kernel: no thread hop, which is what small operations want.
class InlineRing final : public Executor {
public:
  explicit InlineRing(CompletionQueue &completions) : completions_(completions) {}
  // 0, or -errno.
  int open(unsigned entries);

  void submit(OperationList &batch) override;
  void cancel(Operation &operation) override;
  void reap(OperationList &ended) override;
  uint64_t enters() const override { return driver_.enters(); }

private:
  void pump();

  CompletionQueue &completions_;
  RingDriver driver_;
  OperationList ended_;
};

} // namespace mooncake::io
