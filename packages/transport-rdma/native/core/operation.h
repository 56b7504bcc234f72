#pragma once
#include <memory>
#include <vector>

#include "registration.h"
#include "window_table.h"

namespace mooncake::rdma {

enum class OperationKind : uint32_t { read, write };

struct Check;

// One READ or WRITE over one endpoint. It is cut into slices while it is posted.
struct Operation {
  double id;
  OperationKind kind;
  std::shared_ptr<Registration> local;
  uint64_t localOffset;
  uint64_t lengthBytes;
  // From the start of the window.
  uint64_t remoteOffset;
  // The whole of what this may be a part of: it is refused as a whole.
  uint64_t wholeOffset;
  uint64_t wholeBytes;

  // Filled in by the check of the window.
  uint64_t remoteAddress = 0;
  uint32_t remoteKey = 0;

  uint64_t postedBytes = 0;
  uint32_t slicesInFlight = 0;
  bool checking = true;
  bool cancelled = false;
  int32_t status = 0;
};

struct OperationOrder {
  uint32_t endpoint;
  uint32_t slot;
  Token token;
  Operation operation;
};

} // namespace mooncake::rdma
