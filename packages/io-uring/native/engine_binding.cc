#include "engine_binding.h"

#include <region_abi.h>

#include "core/sockets.h"

namespace mooncake::io {

namespace {

// The descriptor that JavaScript writes before `prepare`; the triples follow (allocate: one number, the length). Shared with src/native.ts.
enum StagingField { kOpcode, kFd, kFlags, kFileOffset, kPieceCount, kVector };

uint32_t asUint32(const Napi::Value &value) { return value.As<Napi::Number>().Uint32Value(); }

Memory memoryOfRegion(mooncake_region *region) {
  region->retain(region);
  return {region->base, region->length_bytes, region,
          [](void *owner) { static_cast<mooncake_region *>(owner)->release(static_cast<mooncake_region *>(owner)); }};
}

Memory memoryOfBytes(Napi::Uint8Array bytes) {
  auto *reference = new Napi::Reference<Napi::Uint8Array>(Napi::Persistent(bytes));
  return {bytes.Data(), bytes.ByteLength(), reference,
          [](void *owner) { delete static_cast<Napi::Reference<Napi::Uint8Array> *>(owner); }};
}

mooncake_region *regionOf(const Napi::Value &handle) {
  constexpr napi_type_tag tag{MOONCAKE_REGION_TAG_LOWER, MOONCAKE_REGION_TAG_UPPER};
  bool tagged = false;
  if (napi_check_object_type_tag(handle.Env(), handle, &tag, &tagged) != napi_ok || !tagged) return nullptr;
  auto *region = handle.As<Napi::External<mooncake_region>>().Data();
  const bool known = region->abi_version == MOONCAKE_REGION_ABI_VERSION && region->memory_kind == MOONCAKE_MEMORY_HOST;
  return known ? region : nullptr;
}

} // namespace

void EngineHost::close() {
  if (binding == nullptr) return;
  binding->host_ = nullptr;
  binding->engine_ = nullptr;
  binding = nullptr;
  engine.shutDown();
  uv_close(reinterpret_cast<uv_handle_t *>(&poll), [](uv_handle_t *handle) {
    auto *host = static_cast<EngineHost *>(handle->data);
    napi_remove_async_cleanup_hook(host->hook);
    delete host;
  });
}

Napi::Function EngineBinding::define(Napi::Env env) {
  return DefineClass(env, "Engine",
                     {
                         InstanceMethod<&EngineBinding::setStaging>("setStaging"),
                         InstanceMethod<&EngineBinding::prepare>("prepare"),
                         InstanceMethod<&EngineBinding::prepareConnect>("prepareConnect"),
                         InstanceMethod<&EngineBinding::submit>("submit"),
                         InstanceMethod<&EngineBinding::cancel>("cancel"),
                         InstanceMethod<&EngineBinding::cancelAll>("cancelAll"),
                         InstanceMethod<&EngineBinding::drain>("drain"),
                         InstanceMethod<&EngineBinding::attach>("attach"),
                         InstanceMethod<&EngineBinding::detach>("detach"),
                         InstanceMethod<&EngineBinding::stats>("stats"),
                         InstanceMethod<&EngineBinding::setReferenced>("setReferenced"),
                         InstanceMethod<&EngineBinding::close>("close"),
                     });
}

// new Engine({ uring, entries, bulkThreads, fileThreads }, completions, onReady)
EngineBinding::EngineBinding(const Napi::CallbackInfo &info) : ObjectWrap(info) {
  const Napi::Env env = info.Env();
  const auto options = info[0].As<Napi::Object>();
  auto completions = info[1].As<Napi::Float64Array>();
  completionsReference_ = Napi::Persistent(completions);
  completions_ = completions.Data();
  completionsMax_ = completions.ElementLength() / 2;
  // Weak: it leads to the owner of this object, and shall not keep both alive for ever.
  onReady_ = Napi::Weak(info[2].As<Napi::Function>());
  context_ = std::make_unique<Napi::AsyncContext>(env, "mooncake-ts.io-uring");
  start(env, {
                 .uring = options.Get("uring").ToBoolean(),
                 .entries = asUint32(options.Get("entries")),
                 .bulkThreads = asUint32(options.Get("bulkThreads")),
                 .fileThreads = asUint32(options.Get("fileThreads")),
             });
}

void EngineBinding::start(Napi::Env env, const EngineOptions &options) {
  auto host = std::make_unique<EngineHost>();
  host->binding = this;
  OpenResult opened = host->engine.open(options);
  uv_loop_t *loop = nullptr;
  if (opened.error == 0) {
    napi_get_uv_event_loop(env, &loop);
    opened = {"uv_poll_init", uv_poll_init(loop, &host->poll, host->engine.doorbell())};
  }
  if (opened.error != 0) {
    auto error = Napi::Error::New(env, opened.what);
    error.Set("errno", Napi::Number::New(env, opened.error));
    throw error;
  }
  host_ = host.release();
  engine_ = &host_->engine;
  host_->poll.data = host_;
  uv_poll_start(&host_->poll, UV_READABLE, onDoorbell);
  uv_unref(reinterpret_cast<uv_handle_t *>(&host_->poll));
  napi_add_async_cleanup_hook(env, onEnvironmentEnd, host_, &host_->hook);
}

EngineBinding::~EngineBinding() {
  if (host_ != nullptr) host_->close();
}

// The end of the process or of a worker, with operations perhaps in flight: nothing may touch memory after
// this.
void EngineBinding::onEnvironmentEnd(napi_async_cleanup_hook_handle, void *host) {
  static_cast<EngineHost *>(host)->close();
}

void EngineBinding::onDoorbell(uv_poll_t *poll, int, int) {
  EngineBinding *self = static_cast<EngineHost *>(poll->data)->binding;
  if (self == nullptr) return;
  self->engine_->silenceDoorbell();
  const Napi::Env env = self->Env();
  const Napi::HandleScope outer(env);
  [[maybe_unused]] const Napi::Value kept = self->Value(); // Not collected while it is in use here.
  const size_t rounds = self->engine_->roundsOf(self->completionsMax_);
  for (size_t round = 0; round < rounds && self->engine_ != nullptr; round++) {
    const Napi::HandleScope scope(env);
    if (!self->deliver(env)) return;
  }
  // What has ended meanwhile, perhaps because of a delivery: other events have their turn before.
  if (self->engine_ != nullptr && self->engine_->hasEnded()) self->engine_->ringDoorbell();
}

// What JavaScript does because of it, in microtasks too, is done when this returns. False where it cannot run.
bool EngineBinding::deliver(Napi::Env env) {
  // Not the C++ wrapper: at the end of a worker nothing can be called, and that is no error of ours.
  napi_value result;
  const napi_status status =
      napi_make_callback(env, *context_, env.Global(), onReady_.Value(), 0, nullptr, &result);
  if (status == napi_ok) return true;
  napi_value error;
  if (status != napi_pending_exception || napi_get_and_clear_last_exception(env, &error) != napi_ok) return false;
  napi_fatal_exception(env, error);
  return true;
}

void EngineBinding::updateBusy() {
  const bool busy = engine_->inFlight() > 0;
  if (busy == busy_) return;
  busy_ = busy;
  if (busy) onReady_.Ref();
  else onReady_.Unref();
  updateLoopRef();
}

void EngineBinding::updateLoopRef() {
  auto *handle = reinterpret_cast<uv_handle_t *>(&host_->poll);
  if (busy_ && referenced_) uv_ref(handle);
  else uv_unref(handle);
}

void EngineBinding::setStaging(const Napi::CallbackInfo &info) {
  auto staging = info[0].As<Napi::Float64Array>();
  stagingReference_ = Napi::Persistent(staging);
  staging_ = staging.Data();
  stagingLength_ = staging.ElementLength();
}

Napi::Value EngineBinding::prepared(Napi::Env env, int64_t index) {
  if (!busy_ && index >= 0) updateBusy();
  return Napi::Number::New(env, static_cast<double>(index));
}

Napi::Value EngineBinding::prepare(const Napi::CallbackInfo &info) {
  const uint32_t ring = asUint32(info[0]);
  const auto opcode = static_cast<Opcode>(staging_[kOpcode]);
  const int fd = static_cast<int>(staging_[kFd]);
  const auto flags = static_cast<uint32_t>(staging_[kFlags]);
  if (opcode == Opcode::allocate) {
    const auto lengthBytes = static_cast<uint64_t>(staging_[kVector]);
    const auto fileOffset = static_cast<uint64_t>(staging_[kFileOffset]);
    return prepared(info.Env(), engine_->prepareAllocate(ring, fd, fileOffset, lengthBytes));
  }
  const bool transfer = opcode >= Opcode::recv && opcode <= Opcode::write;
  if (!transfer) return prepared(info.Env(), engine_->prepare(ring, opcode, fd, flags));
  const auto fileOffset = static_cast<uint64_t>(staging_[kFileOffset]);
  const auto pieceCount = static_cast<size_t>(staging_[kPieceCount]);
  if (kVector + pieceCount * 3 > stagingLength_) return prepared(info.Env(), kOutOfBounds);
  return prepared(info.Env(),
                  engine_->prepareTransfer(ring, opcode, fd, flags, fileOffset, staging_ + kVector, pieceCount));
}

// (ring, fd, host or path, port), where port is undefined for a path.
Napi::Value EngineBinding::prepareConnect(const Napi::CallbackInfo &info) {
  SocketAddress address;
  const std::string target = info[2].As<Napi::String>();
  const bool isPath = !info[3].IsNumber();
  const int error =
      isPath ? address.setPath(target) : address.setHost(target, static_cast<uint16_t>(asUint32(info[3])));
  if (error != 0) return prepared(info.Env(), kBadAddress);
  const int fd = info[1].As<Napi::Number>().Int32Value();
  return prepared(info.Env(), engine_->prepare(asUint32(info[0]), Opcode::connect, fd, 0, &address));
}

void EngineBinding::submit(const Napi::CallbackInfo &info) { engine_->submit(asUint32(info[0])); }

void EngineBinding::cancel(const Napi::CallbackInfo &info) { engine_->cancel(asUint32(info[0])); }

void EngineBinding::cancelAll(const Napi::CallbackInfo &) { engine_->cancelAll(); }

Napi::Value EngineBinding::drain(const Napi::CallbackInfo &info) {
  const size_t count = engine_->drain(completions_, completionsMax_);
  if (count > 0) updateBusy();
  return Napi::Number::New(info.Env(), static_cast<double>(count));
}

// An External over a mooncake_region, or a Uint8Array. -1: neither.
Napi::Value EngineBinding::attach(const Napi::CallbackInfo &info) {
  if (info[0].IsTypedArray()) {
    return Napi::Number::New(info.Env(), engine_->memory().attach(memoryOfBytes(info[0].As<Napi::Uint8Array>())));
  }
  mooncake_region *region = info[0].IsExternal() ? regionOf(info[0]) : nullptr;
  if (region == nullptr) return Napi::Number::New(info.Env(), -1);
  return Napi::Number::New(info.Env(), engine_->memory().attach(memoryOfRegion(region)));
}

Napi::Value EngineBinding::detach(const Napi::CallbackInfo &info) {
  return Napi::Boolean::New(info.Env(), engine_->memory().detach(asUint32(info[0])));
}

Napi::Value EngineBinding::stats(const Napi::CallbackInfo &info) {
  const EngineStats stats = engine_->stats();
  auto result = Napi::Object::New(info.Env());
  result.Set("inFlight", static_cast<double>(stats.inFlight));
  result.Set("submitted", static_cast<double>(stats.submitted));
  result.Set("completed", static_cast<double>(stats.completed));
  result.Set("attachedSlots", static_cast<double>(stats.attachedSlots));
  result.Set("enters", static_cast<double>(stats.enters));
  return result;
}

void EngineBinding::setReferenced(const Napi::CallbackInfo &info) {
  referenced_ = info[0].ToBoolean();
  updateLoopRef();
}

void EngineBinding::close(const Napi::CallbackInfo &) {
  if (host_ != nullptr) host_->close();
}

} // namespace mooncake::io
