#include <napi.h>
#include <unistd.h>

#include "core/packet_socket.h"
#include "watcher.h"

namespace mooncake::shm {
namespace {

/* Compared with the number in src/native.ts: JavaScript and binary of one package belong together. */
constexpr int kBindingVersion = 1;

int IntOf(const Napi::Value& value) { return value.As<Napi::Number>().Int32Value(); }
Napi::Value NumberOf(Napi::Env env, double number) { return Napi::Number::New(env, number); }

/* (path, backlog, mode) => fd | -errno */
Napi::Value ListenCall(const Napi::CallbackInfo& info) {
  const std::string path = info[0].As<Napi::String>();
  return NumberOf(info.Env(), Listen(path, IntOf(info[1]), static_cast<unsigned>(IntOf(info[2]))));
}

/* (path) => fd | -errno */
Napi::Value ConnectCall(const Napi::CallbackInfo& info) {
  return NumberOf(info.Env(), Connect(info[0].As<Napi::String>()));
}

/* (listener) => fd | -errno */
Napi::Value AcceptCall(const Napi::CallbackInfo& info) { return NumberOf(info.Env(), Accept(IntOf(info[0]))); }

/* (fd, bytes, descriptor | -1) => 0 | -errno */
Napi::Value SendCall(const Napi::CallbackInfo& info) {
  const auto bytes = info[1].As<Napi::Uint8Array>();
  std::vector<int> descriptors;
  if (const int descriptor = IntOf(info[2]); descriptor >= 0) descriptors.push_back(descriptor);
  return NumberOf(info.Env(), Send(IntOf(info[0]), bytes.Data(), bytes.ByteLength(), descriptors));
}

/* (fd, bytes, descriptors: number[]) => length | -errno; appends to `descriptors`. */
Napi::Value ReceiveCall(const Napi::CallbackInfo& info) {
  auto bytes = info[1].As<Napi::Uint8Array>();
  auto list = info[2].As<Napi::Array>();
  std::vector<int> descriptors;
  const ssize_t received = Receive(IntOf(info[0]), bytes.Data(), bytes.ByteLength(), descriptors);
  for (const int descriptor : descriptors) list.Set(list.Length(), NumberOf(info.Env(), descriptor));
  return NumberOf(info.Env(), static_cast<double>(received));
}

/* (fd) => uid | -errno */
Napi::Value PeerUserCall(const Napi::CallbackInfo& info) {
  uint32_t user = 0;
  const int error = PeerUser(IntOf(info[0]), user);
  return NumberOf(info.Env(), error == 0 ? user : error);
}

/* (fd) => void */
void CloseCall(const Napi::CallbackInfo& info) { close(IntOf(info[0])); }

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  Watchers::Open(env);
  exports.Set("bindingVersion", kBindingVersion);
  exports.Set("listen", Napi::Function::New(env, ListenCall));
  exports.Set("connect", Napi::Function::New(env, ConnectCall));
  exports.Set("accept", Napi::Function::New(env, AcceptCall));
  exports.Set("send", Napi::Function::New(env, SendCall));
  exports.Set("receive", Napi::Function::New(env, ReceiveCall));
  exports.Set("peerUser", Napi::Function::New(env, PeerUserCall));
  exports.Set("close", Napi::Function::New(env, CloseCall));
  exports.Set("Watcher", Watcher::Define(env));
  return exports;
}

}  // namespace
}  // namespace mooncake::shm

static Napi::Object InitAddon(Napi::Env env, Napi::Object exports) { return mooncake::shm::Init(env, exports); }
NODE_API_MODULE(mooncake_shm, InitAddon)
