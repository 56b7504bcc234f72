#include "inline_ring.h"

namespace mooncake::io {

int InlineRing::open(unsigned entries) {
  const int error = driver_.open(entries);
  return error != 0 ? error : driver_.notify(completions_.doorbell());
}

void InlineRing::submit(OperationList &batch) {
  for (Operation *operation : batch) driver_.start(*operation);
  batch.clear();
  pump();
}

void InlineRing::cancel(Operation &operation) {
  driver_.cancel(operation.index);
  pump();
  // The kernel rings for what it ends, but it need not have seen this one.
  if (!ended_.empty()) completions_.ring();
}

void InlineRing::reap(OperationList &ended) {
  pump();
  ended.insert(ended.end(), ended_.begin(), ended_.end());
  ended_.clear();
}

void InlineRing::pump() {
  // What was refused is tried again on the next turn of the event loop.
  if (!driver_.pump(ended_, false)) completions_.ring();
}

} // namespace mooncake::io
