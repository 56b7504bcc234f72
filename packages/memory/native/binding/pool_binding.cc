#include "pool_binding.h"

#include <cstring>
#include <string>
#include <system_error>
#include <vector>

#include "region_binding.h"

namespace mooncake {
namespace {

/* Operations come as one Float64Array: per operation, indices into the list of handles, offsets and a length. */
constexpr size_t kCopyWords = 5;     /* from, fromOffset, to, toOffset, byteLength */
constexpr size_t kChecksumWords = 3; /* from, fromOffset, byteLength */

class Descriptors {
 public:
  explicit Descriptors(const Napi::CallbackInfo& info)
      : env_(info.Env()), words_(info[1].As<Napi::Float64Array>()), op_count_(info[2].As<Napi::Number>().Uint32Value()) {
    const auto handles = info[0].As<Napi::Array>();
    regions_.reserve(handles.Length());
    for (uint32_t index = 0; index < handles.Length(); index++) regions_.push_back(RegionOf(env_, handles[index]));
  }

  std::shared_ptr<Batch> ToCopies() const {
    auto batch = Begin(Batch::Kind::kCopy, kCopyWords);
    for (size_t op = 0; op < op_count_; op++) {
      const double* words = words_.Data() + op * kCopyWords;
      mooncake_region* from = RegionAt(words[0]);
      mooncake_region* to = RegionAt(words[2]);
      const uint64_t from_offset = ByteCountOf(env_, words[1]);
      const uint64_t to_offset = ByteCountOf(env_, words[3]);
      const uint64_t length_bytes = ByteCountOf(env_, words[4]);
      RequireInside(env_, from, from_offset, length_bytes);
      RequireInside(env_, to, to_offset, length_bytes);
      RequireWritable(env_, to);
      batch->AddCopy(from, from_offset, to, to_offset, length_bytes);
    }
    return batch;
  }

  std::shared_ptr<Batch> ToChecksums() const {
    auto batch = Begin(Batch::Kind::kChecksum, kChecksumWords);
    for (size_t op = 0; op < op_count_; op++) {
      const double* words = words_.Data() + op * kChecksumWords;
      mooncake_region* from = RegionAt(words[0]);
      const uint64_t offset = ByteCountOf(env_, words[1]);
      const uint64_t length_bytes = ByteCountOf(env_, words[2]);
      RequireInside(env_, from, offset, length_bytes);
      batch->AddChecksum(from, offset, length_bytes);
    }
    return batch;
  }

  /* Calls `piece` with the memory of each slice; throws before the first call where one of them is not good. */
  template <typename Piece>
  void ForEachSlice(uint64_t room_bytes, Piece piece) const {
    uint64_t length_bytes = 0;
    const auto visit = [&](auto&& use) {
      for (size_t op = 0; op < op_count_; op++) {
        const double* words = words_.Data() + op * kChecksumWords;
        use(RegionAt(words[0]), ByteCountOf(env_, words[1]), ByteCountOf(env_, words[2]));
      }
    };
    RequireWords(kChecksumWords);
    visit([&](mooncake_region* region, uint64_t offset, uint64_t length) {
      RequireInside(env_, region, offset, length);
      length_bytes += length;
      if (length_bytes > room_bytes) Throw(env_, "ERR_SLICE_OUT_OF_BOUNDS", "The slices hold more than the bytes");
    });
    visit([&](mooncake_region* region, uint64_t offset, uint64_t length) { piece(region->base + offset, length); });
  }

 private:
  void RequireWords(size_t words_per_op) const {
    if (words_.ElementLength() >= op_count_ * words_per_op) return;
    Throw(env_, "ERR_INVALID_PARAMS", "Fewer descriptors than operations");
  }

  std::shared_ptr<Batch> Begin(Batch::Kind kind, size_t words_per_op) const {
    RequireWords(words_per_op);
    auto batch = std::make_shared<Batch>(kind);
    batch->Reserve(op_count_);
    for (mooncake_region* region : regions_) batch->Hold(region);
    return batch;
  }

  mooncake_region* RegionAt(double index) const {
    if (!(index >= 0 && index < static_cast<double>(regions_.size()))) {
      Throw(env_, "ERR_INVALID_PARAMS", "A descriptor names no handle");
    }
    return regions_[static_cast<size_t>(index)];
  }

  Napi::Env env_;
  Napi::Float64Array words_;
  size_t op_count_;
  std::vector<mooncake_region*> regions_;
};

napi_value ResultOf(napi_env env, const Batch& batch) {
  napi_value result = nullptr;
  if (batch.kind() == Batch::Kind::kCopy) {
    napi_get_undefined(env, &result);
    return result;
  }
  const size_t byte_count = batch.checksums().size() * sizeof(uint32_t);
  void* data = nullptr;
  napi_value buffer = nullptr;
  if (napi_create_arraybuffer(env, byte_count, &data, &buffer) != napi_ok) return nullptr;
  std::copy(batch.checksums().begin(), batch.checksums().end(), static_cast<uint32_t*>(data));
  napi_create_typedarray(env, napi_uint32_array, batch.checksums().size(), buffer, 0, &result);
  return result;
}

}  // namespace

Napi::Function PoolBinding::Define(Napi::Env env) {
  return DefineClass(env, "CopyPool",
                     {InstanceMethod<&PoolBinding::Copy>("copy"), InstanceMethod<&PoolBinding::Checksum>("checksum"),
                      InstanceMethod<&PoolBinding::ChecksumNow>("checksumNow"),
                      InstanceMethod<&PoolBinding::Gather>("gather"), InstanceMethod<&PoolBinding::Scatter>("scatter"),
                      InstanceMethod<&PoolBinding::Stop>("stop")});
}

PoolBinding::PoolBinding(const Napi::CallbackInfo& info) : ObjectWrap(info), instance_(Instance::Of(info.Env())) {
  inline_bytes_max_ = ByteCountOf(info.Env(), info[1].As<Napi::Number>().DoubleValue());
  inflight_ops_max_ = ByteCountOf(info.Env(), info[2].As<Napi::Number>().DoubleValue());
  try {
    const auto ring = [instance = instance_] { instance->Ring(); };
    pool_ = std::make_unique<CopyPool>(info[0].As<Napi::Number>().Uint32Value(), ring);
  } catch (const std::system_error& error) {
    Throw(info.Env(), "ERR_OUT_OF_MEMORY", std::string("No thread for the copy pool: ") + error.what());
  }
  instance_->AddPool(this);
}

PoolBinding::~PoolBinding() { instance_->RemovePool(this); }

Napi::Value PoolBinding::Copy(const Napi::CallbackInfo& info) { return Post(info.Env(), Descriptors(info).ToCopies()); }

Napi::Value PoolBinding::Checksum(const Napi::CallbackInfo& info) {
  return Post(info.Env(), Descriptors(info).ToChecksums());
}

Napi::Value PoolBinding::ChecksumNow(const Napi::CallbackInfo& info) {
  const auto batch = Descriptors(info).ToChecksums();
  CopyPool::RunInline(*batch);
  return Napi::Value(info.Env(), ResultOf(info.Env(), *batch));
}

/* Both run here and now: nothing of JavaScript's own memory may be touched later. */
void PoolBinding::Gather(const Napi::CallbackInfo& info) {
  auto bytes = info[3].As<Napi::Uint8Array>();
  uint8_t* to = bytes.Data();
  Descriptors(info).ForEachSlice(bytes.ByteLength(), [&](const uint8_t* memory, uint64_t length_bytes) {
    if (length_bytes > 0) std::memmove(to, memory, length_bytes);
    to += length_bytes;
  });
}

void PoolBinding::Scatter(const Napi::CallbackInfo& info) {
  const auto bytes = info[3].As<Napi::Uint8Array>();
  const uint8_t* from = bytes.Data();
  Descriptors(info).ForEachSlice(bytes.ByteLength(), [&](uint8_t* memory, uint64_t length_bytes) {
    if (length_bytes > 0) std::memmove(memory, from, length_bytes);
    from += length_bytes;
  });
}

void PoolBinding::Stop(const Napi::CallbackInfo&) { pool_->Stop(); }

/* The result itself where the batch was small enough to run here, a promise of it otherwise. */
Napi::Value PoolBinding::Post(Napi::Env env, std::shared_ptr<Batch> batch) {
  if (batch->length_bytes() <= inline_bytes_max_) {
    CopyPool::RunInline(*batch);
    return Napi::Value(env, ResultOf(env, *batch));
  }
  if (inflight_ops_ > 0 && inflight_ops_ + batch->op_count() > inflight_ops_max_) {
    Throw(env, "ERR_OVERLOADED", "The copy pool has " + std::to_string(inflight_ops_) + " operations in flight");
  }
  napi_deferred deferred = nullptr;
  napi_value promise = nullptr;
  NAPI_THROW_IF_FAILED(env, napi_create_promise(env, &deferred, &promise), Napi::Value());
  batch->set_context(deferred);
  inflight_ops_ += batch->op_count();
  instance_->HoldLoop();
  Ref(); /* A pool with work in flight is not collected. */
  pool_->Submit(std::move(batch));
  return Napi::Value(env, promise);
}

/* Statuses are not looked at: they fail only where JavaScript is being terminated, and then nobody waits. */
void PoolBinding::Settle(napi_env env) {
  for (const auto& batch : pool_->TakeFinished()) {
    const auto deferred = static_cast<napi_deferred>(batch->context());
    inflight_ops_ -= batch->op_count();
    instance_->LetLoopGo();
    napi_resolve_deferred(env, deferred, ResultOf(env, *batch));
    Unref();
  }
}

}  // namespace mooncake
