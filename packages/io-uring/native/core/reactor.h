#pragma once
#include <atomic>
#include <deque>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "completion_queue.h"

namespace mooncake::io {

// One epoll thread for all socket operations: it tries each without blocking, and again when the socket is
// ready, so thousands of idle receives cost no thread.
class Reactor {
public:
  explicit Reactor(CompletionQueue &completions);
  // Everything has ended before.
  ~Reactor();
  // Starts the thread. 0, or -errno.
  int open();

  // JavaScript thread.
  void submit(OperationList &batch);
  void cancel(Operation &operation);
  uint64_t attempts() const { return attempts_.load(std::memory_order_relaxed); }

private:
  struct Request {
    uint32_t index;
    // Null: cancel what has this index.
    Operation *operation;
  };
  // Waiting operations of one socket, first in first out per direction.
  struct Waiters {
    std::deque<Operation *> input;
    std::deque<Operation *> output;
    std::deque<Operation *> &of(const Operation &operation) { return operation.isInput() ? input : output; }
  };

  void post(const Request *requests, size_t count);
  void run();
  bool takeInbox();
  void start(Operation &operation);
  void endWaiting(uint32_t index, int error);
  void ready(int fd, uint32_t events);
  // Carries out what can be done now. True: the operation has ended.
  bool advance(Operation &operation);
  int64_t attempt(Operation &operation);
  // Tells epoll what the socket's waiters want, for one event. 0, or -errno: it refuses this fd.
  int watch(int fd);
  void serve(std::deque<Operation *> &queue);
  void end(Operation &operation) { ended_.push_back(&operation); }

  CompletionQueue &completions_;
  std::thread thread_;
  int epoll_;
  int wakeFd_;

  std::mutex mutex_;
  std::vector<Request> inbox_;
  bool stopping_ = false;
  std::atomic<uint64_t> attempts_ = 0;

  // The thread's own.
  std::vector<Request> requests_;
  // Kept for the next operation on the same fd: as many as there were fds at once.
  std::unordered_map<int, Waiters> waiters_;
  std::vector<Operation *> waiting_; // by operation index
  OperationList ended_;
};

} // namespace mooncake::io
