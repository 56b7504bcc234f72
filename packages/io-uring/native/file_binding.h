#pragma once
#include <napi.h>

namespace mooncake::io {

// Synchronous calls on files that Node has not.
void defineFileCalls(Napi::Env env, Napi::Object exports);

} // namespace mooncake::io
