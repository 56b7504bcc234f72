#include "prefault_binding.h"

#include <string>
#include <system_error>

#include "instance.h"
#include "region_binding.h"

namespace mooncake {
namespace {

/* Statuses are not looked at: they fail only where JavaScript is being terminated, and then nobody waits. */
napi_value ErrorOf(napi_env env, const Prefault& prefault) {
  const bool failed = prefault.error() != 0;
  const std::string text = failed ? "No memory for the pages of a region of " + std::to_string(prefault.length_bytes()) +
                                        " bytes: " + std::generic_category().message(prefault.error())
                                  : "The region was closed before all of its pages were taken";
  napi_value code = nullptr;
  napi_value message = nullptr;
  napi_value error = nullptr;
  napi_create_string_utf8(env, failed ? "ERR_OUT_OF_MEMORY" : "ERR_REGION_CLOSED", NAPI_AUTO_LENGTH, &code);
  napi_create_string_utf8(env, text.c_str(), text.size(), &message);
  napi_create_error(env, code, message, &error);
  return error;
}

}  // namespace

Napi::Value PrefaultBinding::Start(Napi::Env env, mooncake_region* region) {
  try {
    const auto ring = [instance = instance_.shared_from_this()] { instance->Ring(); };
    if (!prefaulter_) prefaulter_ = std::make_unique<Prefaulter>(ring);
  } catch (const std::system_error& error) {
    Throw(env, "ERR_OUT_OF_MEMORY", std::string("No thread to take pages with: ") + error.what());
  }
  napi_deferred deferred = nullptr;
  napi_value promise = nullptr;
  NAPI_THROW_IF_FAILED(env, napi_create_promise(env, &deferred, &promise), Napi::Value());
  in_flight_ += 1;
  instance_.HoldLoop();
  prefaulter_->Submit(std::make_shared<Prefault>(region, deferred));
  return Napi::Value(env, promise);
}

void PrefaultBinding::Settle(napi_env env) {
  if (!prefaulter_) return;
  for (const auto& prefault : prefaulter_->TakeFinished()) {
    const auto deferred = static_cast<napi_deferred>(prefault->context());
    in_flight_ -= 1;
    instance_.LetLoopGo();
    if (prefault->complete()) {
      napi_value undefined = nullptr;
      napi_get_undefined(env, &undefined);
      napi_resolve_deferred(env, deferred, undefined);
    } else {
      napi_reject_deferred(env, deferred, ErrorOf(env, *prefault));
    }
  }
  if (in_flight_ == 0) prefaulter_.reset();
}

Napi::Value PrefaultRegion(const Napi::CallbackInfo& info) {
  return Instance::Of(info.Env())->prefaults().Start(info.Env(), RegionOf(info.Env(), info[0]));
}

}  // namespace mooncake
