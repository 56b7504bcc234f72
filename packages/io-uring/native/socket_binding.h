#pragma once
#include <napi.h>

namespace mooncake::io {

// Adds the synchronous socket calls to the exports.
void defineSocketCalls(Napi::Env env, Napi::Object exports);

} // namespace mooncake::io
