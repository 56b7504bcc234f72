#include "reactor.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace mooncake::io {

namespace {

constexpr int kEventsMax = 64;

int connectNow(Operation &operation) {
  if (!operation.polling) {
    operation.polling = true;
    const auto *address = reinterpret_cast<const sockaddr *>(&operation.address.storage);
    const int flags = fcntl(operation.fd, F_GETFL);
    if (flags < 0 || fcntl(operation.fd, F_SETFL, flags | O_NONBLOCK) < 0) return -errno;
    const int result = connect(operation.fd, address, operation.address.bytes) < 0 ? -errno : 0;
    fcntl(operation.fd, F_SETFL, flags);
    // EAGAIN is a unix socket whose backlog is full; nothing would tell when it no longer is.
    if (result == -EAGAIN) return -ECONNREFUSED;
    return result == -EINPROGRESS ? -EAGAIN : result;
  }
  int error = 0;
  socklen_t bytes = sizeof error;
  if (getsockopt(operation.fd, SOL_SOCKET, SO_ERROR, &error, &bytes) < 0) return -errno;
  return -error;
}

// There is no "do not block" for one accept: the socket itself is made non-blocking.
int acceptNow(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return -errno;
  if ((flags & O_NONBLOCK) == 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return -errno;
  const int accepted = accept4(fd, nullptr, nullptr, SOCK_CLOEXEC);
  return accepted < 0 ? -errno : accepted;
}

} // namespace

Reactor::Reactor(CompletionQueue &completions)
    : completions_(completions), epoll_(epoll_create1(EPOLL_CLOEXEC)),
      wakeFd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

Reactor::~Reactor() {
  if (thread_.joinable()) {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    (void)!eventfd_write(wakeFd_, 1);
    thread_.join();
  }
  if (epoll_ >= 0) close(epoll_);
  if (wakeFd_ >= 0) close(wakeFd_);
}

int Reactor::open() {
  if (epoll_ < 0 || wakeFd_ < 0) return -EMFILE;
  epoll_event event{EPOLLIN, {.fd = wakeFd_}};
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, wakeFd_, &event) < 0) return -errno;
  thread_ = std::thread(&Reactor::run, this);
  return 0;
}

void Reactor::submit(OperationList &batch) {
  bool first;
  {
    const std::lock_guard lock(mutex_);
    first = inbox_.empty();
    for (Operation *operation : batch) inbox_.push_back({operation->index, operation});
  }
  batch.clear();
  if (first) (void)!eventfd_write(wakeFd_, 1);
}

void Reactor::cancel(Operation &operation) {
  {
    const std::lock_guard lock(mutex_);
    inbox_.push_back({operation.index, nullptr});
  }
  (void)!eventfd_write(wakeFd_, 1);
}

void Reactor::run() {
  epoll_event events[kEventsMax];
  while (takeInbox()) {
    for (const Request &request : requests_) {
      if (request.operation != nullptr) start(*request.operation);
      else endWaiting(request.index, -ECANCELED);
    }
    if (!ended_.empty()) completions_.push(ended_);
    const int count = epoll_wait(epoll_, events, kEventsMax, -1);
    for (int i = 0; i < count; i++) ready(events[i].data.fd, events[i].events);
    if (!ended_.empty()) completions_.push(ended_);
  }
}

bool Reactor::takeInbox() {
  requests_.clear();
  const std::lock_guard lock(mutex_);
  requests_.swap(inbox_);
  return !stopping_;
}

void Reactor::start(Operation &operation) {
  const auto found = waiters_.find(operation.fd);
  // Behind those that wait already, so that the order of one direction is kept.
  const bool mustWait = found != waiters_.end() && !found->second.of(operation).empty();
  if (!mustWait && advance(operation)) return end(operation);
  if (operation.index >= waiting_.size()) waiting_.resize(operation.index + 1, nullptr);
  waiting_[operation.index] = &operation;
  waiters_[operation.fd].of(operation).push_back(&operation);
  if (mustWait) return;
  if (const int error = watch(operation.fd); error != 0) endWaiting(operation.index, error);
}

void Reactor::endWaiting(uint32_t index, int error) {
  if (index >= waiting_.size() || waiting_[index] == nullptr) return;
  Operation &operation = *waiting_[index];
  waiting_[index] = nullptr;
  Waiters &waiters = waiters_[operation.fd];
  std::erase(waiters.of(operation), &operation);
  operation.cancelRequested = true;
  operation.fold(error);
  end(operation);
  watch(operation.fd);
}

void Reactor::ready(int fd, uint32_t events) {
  if (fd == wakeFd_) {
    eventfd_t ignored;
    (void)!eventfd_read(wakeFd_, &ignored);
    return;
  }
  const auto found = waiters_.find(fd);
  if (found == waiters_.end()) return;
  const bool broken = (events & (EPOLLERR | EPOLLHUP)) != 0;
  if (broken || (events & (EPOLLIN | EPOLLRDHUP)) != 0) serve(found->second.input);
  if (broken || (events & EPOLLOUT) != 0) serve(found->second.output);
  watch(fd);
}

void Reactor::serve(std::deque<Operation *> &queue) {
  while (!queue.empty() && advance(*queue.front())) {
    waiting_[queue.front()->index] = nullptr;
    end(*queue.front());
    queue.pop_front();
  }
}

int Reactor::watch(int fd) {
  const auto found = waiters_.find(fd);
  if (found == waiters_.end()) return 0;
  const uint32_t wanted = (found->second.input.empty() ? 0u : EPOLLIN | EPOLLRDHUP) |
                          (found->second.output.empty() ? 0u : static_cast<uint32_t>(EPOLLOUT));
  epoll_event event{wanted | EPOLLONESHOT, {.fd = fd}};
  // At most one event comes that finds nobody; a closed fd leaves epoll by itself.
  if (wanted == 0) return 0;
  if (epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &event) == 0) return 0;
  if (errno == ENOENT && epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0) return 0;
  return -errno;
}

bool Reactor::advance(Operation &operation) {
  for (;;) {
    const int64_t result = attempt(operation);
    if (result == -EAGAIN) return false;
    if (operation.fold(result)) return true;
  }
}

int64_t Reactor::attempt(Operation &operation) {
  attempts_.fetch_add(1, std::memory_order_relaxed);
  switch (operation.opcode) {
  case Opcode::recv: {
    const ssize_t count = recvmsg(operation.fd, operation.message(), MSG_DONTWAIT);
    return count < 0 ? -errno : count;
  }
  case Opcode::send: {
    const ssize_t count = sendmsg(operation.fd, operation.message(), MSG_DONTWAIT | MSG_NOSIGNAL);
    return count < 0 ? -errno : count;
  }
  case Opcode::accept:
    return acceptNow(operation.fd);
  case Opcode::connect:
    return connectNow(operation);
  default:
    return 0;
  }
}

} // namespace mooncake::io
