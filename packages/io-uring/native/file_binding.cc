#include "file_binding.h"

#include <sys/file.h>

#include <cerrno>

namespace mooncake::io {

namespace {

// The lock belongs to the open file, so it goes with the process, however that ends. 0, or -errno.
Napi::Value lockCall(const Napi::CallbackInfo &info) {
  const int result = flock(info[0].As<Napi::Number>().Int32Value(), LOCK_EX | LOCK_NB);
  return Napi::Number::New(info.Env(), result < 0 ? -errno : 0);
}

} // namespace

void defineFileCalls(Napi::Env env, Napi::Object exports) { exports.Set("lockFile", Napi::Function::New<lockCall>(env)); }

} // namespace mooncake::io
