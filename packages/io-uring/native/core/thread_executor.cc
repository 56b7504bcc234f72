#include "thread_executor.h"

namespace mooncake::io {

int ThreadExecutor::open(unsigned fileThreads) {
  files_.open(fileThreads);
  return reactor_.open();
}

void ThreadExecutor::submit(OperationList &batch) {
  std::erase_if(batch, [this](Operation *operation) {
    if (operation->isFile()) forFiles_.push_back(operation);
    return operation->isFile();
  });
  if (!batch.empty()) reactor_.submit(batch);
  if (!forFiles_.empty()) files_.submit(forFiles_);
}

void ThreadExecutor::cancel(Operation &operation) {
  if (operation.isFile()) files_.cancel(operation);
  else reactor_.cancel(operation);
}

} // namespace mooncake::io
