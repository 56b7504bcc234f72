#pragma once
#include "completion_queue.h"

namespace mooncake::io {

// Something that carries operations out. All methods are called on the JavaScript thread.
class Executor {
public:
  virtual ~Executor() = default;
  // Takes the operations over and leaves `batch` empty. Each one ends exactly once, and never within this
  // call for its caller: ended operations are seen by `reap` or in the completion queue.
  virtual void submit(OperationList &batch) = 0;
  // Asks for the end of an operation that was submitted. Harmless when it has ended meanwhile.
  virtual void cancel(Operation &operation) = 0;
  // Adds what ended on this thread.
  virtual void reap(OperationList &) {}
  // io_uring_enter calls, or attempts in other engines.
  virtual uint64_t enters() const = 0;
};

} // namespace mooncake::io
