#pragma once
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "../core/verbs.h"

namespace mooncake::rdma::test {

// A provider of verbs for what no software device does: devices that die, completions that never come or come twice,
// lists that are taken in part. Both ends of a connection are in this process, so a remote address is an address, and
// an operation is done while it is posted. What it does wrong is said by its fields; all of it is thread-safe.
class FakeProvider {
public:
  FakeProvider();
  FakeProvider(const FakeProvider &) = delete;
  FakeProvider &operator=(const FakeProvider &) = delete;
  ~FakeProvider();

  static constexpr const char *kName = "fake0";

  std::shared_ptr<const Verbs> verbs() const { return verbs_; }

  // ---- what goes wrong
  // Operations begin, and do not end.
  void withhold(bool on);
  // Queue pairs in error do not give back what is on them.
  void keepFlushes(bool on);
  // The next list is taken up to this many; the rest is refused.
  void refuseListAfter(int taken);
  // Requests for a bell are refused.
  void refuseBells();
  // The descriptor of completions, or of events, is readable for ever and fails for ever.
  void breakChannel();
  void breakEvents();
  void raise(ibv_event_type type);
  // A completion that nobody asked for.
  void complete(uint64_t id, ibv_wc_status status);
  // How many queue pairs there may be.
  void limitQueuePairs(size_t most);
  // Whoever connects a queue pair waits until it is released.
  void holdConnects(bool on);
  void setGids(std::vector<ibv_gid_entry> entries);

  // ---- what was done
  struct Counts {
    size_t queuePairs = 0;
    size_t memoryRegions = 0;
    // Queue pairs of which somebody waits for the connection.
    size_t connecting = 0;
    size_t polls = 0;
    // Of the two descriptors that a device has.
    size_t descriptorReads = 0;
  };
  Counts counts();
  // The ids of the work requests that were begun and have not ended.
  std::vector<uint64_t> pending();

private:
  struct Context;
  struct Pair;
  struct Table;

  void ring();
  void finish(uint64_t id, ibv_wc_status status);
  int post(Pair &pair, ibv_send_wr *first, ibv_send_wr **bad);
  void flush(Pair &pair);
  bool send(Pair &pair, const ibv_send_wr &request);

  std::shared_ptr<const Verbs> verbs_;
  std::mutex mutex_;
  std::condition_variable changed_;
  ibv_device device_{};
  ibv_device *list_[2] = {&device_, nullptr};
  std::unique_ptr<Context> context_;
  ibv_pd pd_{};
  ibv_comp_channel channel_{};
  ibv_cq cq_{};
  std::map<uint32_t, std::unique_ptr<Pair>> pairs_;
  std::deque<ibv_wc> completions_;
  std::deque<ibv_event_type> events_;
  std::vector<ibv_gid_entry> gids_;
  Counts counts_;
  uint32_t nextNumber_ = 1;
  size_t pairsMax_ = SIZE_MAX;
  int refuseAfter_ = -1;
  bool armed_ = false;
  bool withheld_ = false;
  bool flushesKept_ = false;
  bool bellsRefused_ = false;
  bool channelBroken_ = false;
  bool eventsBroken_ = false;
  bool connectsHeld_ = false;
};

} // namespace mooncake::rdma::test
