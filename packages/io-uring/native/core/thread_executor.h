#pragma once
#include "executor.h"
#include "file_pool.h"
#include "reactor.h"

namespace mooncake::io {

// What runs where io_uring is refused: one epoll thread for sockets, a few workers for files.
class ThreadExecutor final : public Executor {
public:
  explicit ThreadExecutor(CompletionQueue &completions) : reactor_(completions), files_(completions) {}
  // 0, or -errno.
  int open(unsigned fileThreads);

  void submit(OperationList &batch) override;
  void cancel(Operation &operation) override;
  uint64_t enters() const override { return reactor_.attempts() + files_.attempts(); }

private:
  Reactor reactor_;
  FilePool files_;
  OperationList forFiles_;
};

} // namespace mooncake::io
