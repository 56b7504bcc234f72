#include "message_thread.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>

namespace mooncake::rdma {

namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

// Of one call to the device.
constexpr uint32_t kChainMax = 8;
// How long flushed work requests may take to come back before their queue pair is destroyed all the same.
constexpr auto kDrainMax = milliseconds(1000);

} // namespace

void MessageThread::add(Stream stream, std::function<void()> ready) {
  enqueue([this, stream = std::move(stream), ready = std::move(ready)] {
    streams_[stream->serial] = stream;
    streamCount_ = streams_.size();
    stream->state_ = StreamState::fresh;
    ready();
    if (stream->closeAsked_) breakDown(*stream, IBV_WC_WR_FLUSH_ERR);
  });
}

void MessageThread::connected(Stream stream, const StreamInfo &peer, bool first) {
  enqueue([this, stream = std::move(stream), slots = peer.slots, slotBytes = peer.slotBytes, first] {
    if (stream->state_ != StreamState::fresh) return;
    stream->credits_.open(slots);
    stream->peerSlotBytes_ = slotBytes;
    stream->state_ = StreamState::connected;
    if (isDead()) breakDown(*stream, IBV_WC_FATAL_ERR);
    else if (first) sendEmpty(*stream, MessageKind::first);
    touch(*stream);
  });
}

void MessageThread::poke(const Stream &stream) {
  if (stream->poked.exchange(true)) return;
  enqueue([this, stream] {
    stream->poked = false;
    touch(*stream);
  });
}

void MessageThread::close(Stream stream) {
  enqueue([this, stream = std::move(stream)] {
    stream->closeAsked_ = true;
    if (streams_.contains(stream->serial)) breakDown(*stream, IBV_WC_WR_FLUSH_ERR);
  });
}

// ---- what comes

void MessageThread::onCompletion(const ibv_wc &completion) {
  const auto found = streams_.find(static_cast<uint32_t>(completion.wr_id >> 32));
  if (found == streams_.end()) return; // Of a stream that is gone.
  MessageStream &stream = *found->second;
  const auto number = static_cast<uint32_t>(completion.wr_id);
  if ((number & kReceiveBit) == 0) sent(stream, number, completion.status);
  else received(stream, number & kNumberMask, completion);
}

void MessageThread::received(MessageStream &stream, uint32_t slot, const ibv_wc &completion) {
  stream.receivesPosted_--;
  if (completion.status != IBV_WC_SUCCESS) {
    breakDown(stream, completion.status);
    return;
  }
  const uint32_t said = (completion.wc_flags & IBV_WC_WITH_IMM) != 0 ? ntohl(completion.imm_data) : 0;
  if (!stream.credits_.restore(said & kCreditMask)) {
    breakDown(stream, IBV_WC_BAD_RESP_ERR);
    return;
  }
  touch(stream);
  const bool last = (said & kLastMessage) != 0;
  if (completion.byte_len == 0 && !last) {
    if (stream.state_ <= StreamState::connected && stream.postReceive(slot) != 0) breakDown(stream, IBV_WC_LOC_QP_OP_ERR);
    return;
  }
  bool wanted;
  {
    const std::lock_guard lock(stream.mutex_);
    if (last) stream.ended_ = true;
    else stream.filled_.push_back({slot, completion.byte_len});
    wanted = last || stream.wantsBytes_;
    stream.wantsBytes_ = false;
  }
  if (wanted) tell(stream);
}

void MessageThread::sent(MessageStream &stream, uint32_t number, int32_t status) {
  // One that has ended already, or never was, must not end those that are on their way.
  if (((number - stream.retired_) & kNumberMask) >= stream.inFlight_.size()) return;
  // One completion stands for the messages before it: those went well.
  while (stream.retired_ != number) retire(stream, IBV_WC_SUCCESS);
  if (status != IBV_WC_SUCCESS) breakDown(stream, status);
  retire(stream, status);
  touch(stream);
}

void MessageThread::retire(MessageStream &stream, int32_t status) {
  const auto [kind, lengthBytes] = stream.inFlight_.front();
  stream.inFlight_.pop_front();
  stream.retired_ = (stream.retired_ + 1) & kNumberMask;
  if (status != IBV_WC_SUCCESS) return;
  if (kind == MessageKind::first) outbox_.add(Event{.kind = EventKind::connected, .subject = stream.id});
  bool wanted = kind == MessageKind::last;
  {
    const std::lock_guard lock(stream.mutex_);
    stream.ring_.release(lengthBytes);
    stream.finished_ |= kind == MessageKind::last;
    wanted |= stream.wantsRoom_ && lengthBytes > 0;
    if (wanted) stream.wantsRoom_ = false;
  }
  if (wanted) tell(stream);
}

void MessageThread::tell(MessageStream &stream) {
  news_.push_back({static_cast<double>(stream.id), kDone});
}

// ---- what goes

bool MessageThread::tend(TimePoint now) {
  std::vector<uint32_t> touched;
  touched.swap(touched_);
  for (const uint32_t serial : touched) {
    if (const auto found = streams_.find(serial); found != streams_.end()) serve(*found->second);
  }
  if (draining_ == 0) return !touched.empty();
  std::vector<MessageStream *> rested;
  for (const auto &[serial, stream] : streams_) {
    if (stream->state_ != StreamState::draining) continue;
    const bool drained = stream->inFlight_.empty() && stream->receivesPosted_ == 0;
    if (drained || now >= stream->drainDeadline_) rested.push_back(stream.get());
  }
  for (MessageStream *stream : rested) destroy(*stream);
  return !touched.empty() || !rested.empty();
}

void MessageThread::serve(MessageStream &stream) {
  if (stream.state_ != StreamState::connected) return;
  std::vector<uint32_t> freed;
  {
    const std::lock_guard lock(stream.mutex_);
    freed.swap(stream.freed_);
  }
  for (const uint32_t slot : freed) {
    if (stream.postReceive(slot) == 0) continue;
    breakDown(stream, IBV_WC_LOC_QP_OP_ERR);
    return;
  }
  stream.credits_.free(static_cast<uint32_t>(freed.size()));
  while (sendBytes(stream)) continue;
  // A peer that has finished needs none, and may be gone.
  const bool useful = stream.state_ == StreamState::connected && !stream.ended_;
  if (useful && stream.credits_.mustTell()) sendEmpty(stream, MessageKind::credits);
}

// The next messages of what was written, as one list. True where there may be more.
bool MessageThread::sendBytes(MessageStream &stream) {
  if (stream.state_ != StreamState::connected || stream.lastSent_) return false;
  std::array<ibv_send_wr, kChainMax> requests;
  std::array<ibv_sge, kChainMax> pieces;
  uint32_t count = 0;
  bool last = false;
  {
    const std::lock_guard lock(stream.mutex_);
    while (count < kChainMax && stream.credits_.hasCredit() && stream.inFlight_.size() < stream.sendCount()) {
      const bool empty = stream.ring_.unpostedBytes() == 0;
      if (empty && !stream.finishAsked_) break;
      const ByteRing::Piece piece = stream.ring_.post(stream.peerSlotBytes_);
      ibv_send_wr &request = requests[count];
      request = {};
      request.wr_id = stream.idOf((stream.retired_ + static_cast<uint32_t>(stream.inFlight_.size())) & kNumberMask);
      request.opcode = IBV_WR_SEND_WITH_IMM;
      pieces[count] = {reinterpret_cast<uint64_t>(piece.at), piece.lengthBytes, stream.mr_->lkey};
      request.sg_list = &pieces[count];
      request.num_sge = empty ? 0 : 1;
      if (piece.lengthBytes <= stream.pair_.inlineBytesMax) request.send_flags = IBV_SEND_INLINE;
      request.imm_data = htonl(stream.credits_.settle() | (empty ? kLastMessage : 0));
      if (count > 0) requests[count - 1].next = &request;
      stream.credits_.spend();
      stream.inFlight_.push_back({empty ? MessageKind::last : MessageKind::bytes, piece.lengthBytes});
      count++;
      last = empty;
      if (last) break;
    }
  }
  if (count == 0) return false;
  stream.lastSent_ = last;
  requests[count - 1].send_flags |= IBV_SEND_SIGNALED;
  return give(stream, requests.data(), count);
}

// One without bytes, which costs no credit.
bool MessageThread::sendEmpty(MessageStream &stream, MessageKind kind) {
  if (stream.inFlight_.size() >= stream.sendCount()) return false;
  ibv_send_wr request{};
  request.wr_id = stream.idOf((stream.retired_ + static_cast<uint32_t>(stream.inFlight_.size())) & kNumberMask);
  request.opcode = IBV_WR_SEND_WITH_IMM;
  request.send_flags = IBV_SEND_SIGNALED;
  request.imm_data = htonl(stream.credits_.settle());
  stream.inFlight_.push_back({kind, 0});
  return give(stream, &request, 1);
}

// Hands a list to the device. What it does not take breaks the stream, as a failed message does.
bool MessageThread::give(MessageStream &stream, ibv_send_wr *first, uint32_t count) {
  ibv_send_wr *bad = nullptr;
  if (ibv_post_send(stream.pair_.qp, first, &bad) == 0) return true;
  uint32_t given = 0;
  for (const ibv_send_wr *each = first; each != nullptr && each != bad; each = each->next) given++;
  for (uint32_t i = given; i < count; i++) stream.inFlight_.pop_back();
  breakDown(stream, IBV_WC_LOC_QP_OP_ERR);
  // What was given asks for no completion: one behind it, on a queue pair that fails everything, tells of its end.
  if (given > 0) sendEmpty(stream, MessageKind::credits);
  return false;
}

// ---- the end of a stream

MessageThread::TimePoint MessageThread::nextTend() const {
  if (!touched_.empty()) return Clock::now();
  TimePoint next = TimePoint::max();
  if (draining_ == 0) return next;
  for (const auto &[serial, stream] : streams_) {
    if (stream->state_ == StreamState::draining) next = std::min(next, stream->drainDeadline_);
  }
  return next;
}

void MessageThread::breakAllDown(int32_t status) {
  for (const auto &[serial, stream] : streams_) breakDown(*stream, status);
}

void MessageThread::breakDown(MessageStream &stream, int32_t status) {
  if (stream.cause_ == 0 || stream.cause_ == IBV_WC_WR_FLUSH_ERR) stream.cause_ = status;
  if (stream.state_ > StreamState::connected) return;
  stream.state_ = StreamState::draining;
  stream.drainDeadline_ = Clock::now() + kDrainMax;
  draining_++;
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_ERR;
  device_.verbs().modifyQp(stream.pair_.qp, &attributes, IBV_QP_STATE);
}

// Its queue pair has come to rest, or never will: destroying it is what makes sure that nothing is touched.
void MessageThread::destroy(MessageStream &stream) {
  stream.state_ = StreamState::destroying;
  draining_--;
  keeper_.post([this, shared = streams_[stream.serial]] {
    shared->destroy();
    enqueue([this, shared] { settle(*shared); });
  });
}

void MessageThread::settle(MessageStream &stream) {
  publish();
  const char *why = device_.verbs().wcStatusText(static_cast<ibv_wc_status>(stream.cause_));
  outbox_.add(Event{.kind = EventKind::closed, .subject = stream.id, .status = stream.cause_, .text = why});
  streams_.erase(stream.serial);
  streamCount_ = streams_.size();
}

} // namespace mooncake::rdma
