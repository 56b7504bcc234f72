#include "device_thread.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "task_thread.h"

namespace mooncake::rdma {

namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using Clock = std::chrono::steady_clock;

constexpr int kCompletionsPerPoll = 32;
// Until a device that refuses to ring the bell is asked again.
constexpr int kBlindWaitMs = 10;

// Why reading an event failed: nothing there is not an error.
bool mayComeAgain(int error) { return error == EAGAIN || error == EINTR; }

} // namespace

DeviceThread::DeviceThread(Device &device, Outbox &outbox)
    : device_(device), outbox_(outbox), spin_(device.options().spinNsMax) {}

DeviceThread::~DeviceThread() {
  if (wakeFd_ >= 0) ::close(wakeFd_);
  if (epollFd_ >= 0) ::close(epollFd_);
}

bool DeviceThread::start(std::string &problem) {
  wakeFd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  epollFd_ = epoll_create1(EPOLL_CLOEXEC);
  bool watched = wakeFd_ >= 0 && epollFd_ >= 0;
  for (const int fd : {wakeFd_, device_.channel()->fd, device_.context()->async_fd}) {
    epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
    watched = watched && epoll_ctl(epollFd_, EPOLL_CTL_ADD, fd, &event) == 0;
  }
  if (!watched) {
    problem = std::string("epoll: ") + std::strerror(errno);
    return false;
  }
  const SignalsBlocked blocked;
  thread_ = std::thread(&DeviceThread::run, this);
  return true;
}

void DeviceThread::stop() {
  if (!thread_.joinable()) return;
  enqueue([this] { stopping_ = true; });
  thread_.join();
}

void DeviceThread::enqueue(Command command) {
  {
    const std::lock_guard lock(mutex_);
    commands_.push_back(std::move(command));
  }
  // Sequentially consistent, against `sleep`: either it sees the command or we see that it sleeps.
  if (sleeping_.exchange(false)) (void)!eventfd_write(wakeFd_, 1);
}

void DeviceThread::run() {
  TimePoint lastNews = Clock::now();
  for (;;) {
    bool news = runCommands();
    news |= pollCompletions();
    const TimePoint now = Clock::now();
    news |= tend(now);
    publish();
    if (stopping_ && atRest()) return;
    if (news) {
      spin_.came(static_cast<uint64_t>(nanoseconds(now - lastNews).count()));
      lastNews = now;
    } else if (!awaits() || nanoseconds(now - lastNews).count() > static_cast<int64_t>(spin_.ns())) {
      sleep();
    }
  }
}

bool DeviceThread::runCommands() {
  std::vector<Command> commands;
  {
    const std::lock_guard lock(mutex_);
    commands.swap(commands_);
  }
  for (const Command &command : commands) command();
  if (stopping_) breakAllDown(IBV_WC_WR_FLUSH_ERR);
  return !commands.empty();
}

bool DeviceThread::pollCompletions() {
  bool any = false;
  std::array<ibv_wc, kCompletionsPerPoll> completions;
  for (;;) {
    const int count = ibv_poll_cq(device_.cq(), kCompletionsPerPoll, completions.data());
    for (int i = 0; i < count; i++) onCompletion(completions[static_cast<size_t>(i)]);
    any |= count > 0;
    if (count < kCompletionsPerPoll) return any;
  }
}

void DeviceThread::sleep() {
  const bool willRing = ibv_req_notify_cq(device_.cq(), 0) == 0;
  // What came between the last poll and the request rings no bell.
  if (pollCompletions()) {
    publish();
    return;
  }
  sleeping_ = true;
  {
    const std::lock_guard lock(mutex_);
    if (!commands_.empty()) {
      sleeping_ = false;
      return;
    }
  }
  sleeps_++;
  std::array<epoll_event, 4> events;
  int wait = waitMs();
  if (!willRing && (wait < 0 || wait > kBlindWaitMs)) wait = kBlindWaitMs;
  const int count = epoll_wait(epollFd_, events.data(), events.size(), wait);
  sleeping_ = false;
  for (int i = 0; i < count; i++) {
    const int fd = events[static_cast<size_t>(i)].data.fd;
    if (fd == wakeFd_) {
      eventfd_t ignored;
      (void)!eventfd_read(wakeFd_, &ignored);
    } else if (fd == device_.channel()->fd) {
      drainBell();
    } else {
      drainAsyncEvents();
    }
  }
}

int DeviceThread::waitMs() const {
  const TimePoint next = nextTend();
  if (next == TimePoint::max()) return -1;
  return static_cast<int>(std::max<int64_t>(0, std::chrono::ceil<milliseconds>(next - Clock::now()).count()));
}

void DeviceThread::drainBell() {
  ibv_cq *cq;
  void *tag;
  unsigned taken = 0;
  errno = 0;
  while (device_.verbs().getCqEvent(device_.channel(), &cq, &tag) == 0) taken++;
  const int error = errno;
  if (taken > 0) device_.verbs().ackCqEvents(device_.cq(), taken);
  if (!mayComeAgain(error)) unwatch(device_.channel()->fd);
}

void DeviceThread::drainAsyncEvents() {
  ibv_async_event event;
  errno = 0;
  while (device_.verbs().getAsyncEvent(device_.context(), &event) == 0) {
    const ibv_event_type type = event.event_type;
    device_.verbs().ackAsyncEvent(&event);
    if (type == IBV_EVENT_DEVICE_FATAL) die();
    else if (!dead_) tell(type);
    errno = 0;
  }
  if (!mayComeAgain(errno)) unwatch(device_.context()->async_fd);
}

// A descriptor of a device that was removed is readable for ever, and fails for ever: the device is as good as dead.
void DeviceThread::unwatch(int fd) {
  epoll_ctl(epollFd_, EPOLL_CTL_DEL, fd, nullptr);
  die();
}

// Said once. A dead device may not even say that its work requests have ended: the limit of the drain does.
void DeviceThread::die() {
  if (dead_) return;
  dead_ = true;
  tell(IBV_EVENT_DEVICE_FATAL);
  breakAllDown(IBV_WC_FATAL_ERR);
}

void DeviceThread::tell(ibv_event_type type) {
  outbox_.add(Event{.kind = EventKind::async,
                    .subject = static_cast<uint32_t>(type),
                    .text = device_.verbs().eventTypeText(type)});
}

} // namespace mooncake::rdma
