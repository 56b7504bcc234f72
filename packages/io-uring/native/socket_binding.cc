#include "socket_binding.h"

#include <unistd.h>

#include <cerrno>

#include "core/sockets.h"

namespace mooncake::io {

namespace {

int asInt(const Napi::Value &value) { return value.As<Napi::Number>().Int32Value(); }
Napi::Value number(const Napi::CallbackInfo &info, int value) { return Napi::Number::New(info.Env(), value); }

// Four numbers from `first` on: send buffer, receive buffer, no delay, keepalive; below 0 leaves the default.
SocketOptions socketOptions(const Napi::CallbackInfo &info, size_t first) {
  return {asInt(info[first]), asInt(info[first + 1]), asInt(info[first + 2]), asInt(info[first + 3])};
}

// (host or path, port or undefined, backlog, reusePort)
Napi::Value listenCall(const Napi::CallbackInfo &info) {
  SocketAddress address;
  const std::string target = info[0].As<Napi::String>();
  const bool isPath = !info[1].IsNumber();
  const int error = isPath ? address.setPath(target) : address.setHost(target, static_cast<uint16_t>(asInt(info[1])));
  return number(info, error != 0 ? error : listenSocket(address, asInt(info[2]), info[3].ToBoolean()));
}

// ('ipv4' | 'ipv6' | 'unix', options)
Napi::Value createCall(const Napi::CallbackInfo &info) {
  const std::string family = info[0].As<Napi::String>();
  const int domain = family == "ipv4" ? AF_INET : family == "ipv6" ? AF_INET6 : AF_UNIX;
  return number(info, createSocket(domain, socketOptions(info, 1)));
}

Napi::Value setOptionsCall(const Napi::CallbackInfo &info) {
  return number(info, setSocketOptions(asInt(info[0]), socketOptions(info, 1)));
}

Napi::Value portCall(const Napi::CallbackInfo &info) { return number(info, localPort(asInt(info[0]))); }

Napi::Value shutdownCall(const Napi::CallbackInfo &info) {
  return number(info, shutdown(asInt(info[0]), SHUT_RDWR) < 0 ? -errno : 0);
}

Napi::Value closeCall(const Napi::CallbackInfo &info) { return number(info, close(asInt(info[0])) < 0 ? -errno : 0); }

// A string, or -errno.
Napi::Value peerCall(const Napi::CallbackInfo &info) {
  std::string peer;
  const int error = socketPeer(asInt(info[0]), peer);
  if (error != 0) return number(info, error);
  return Napi::String::New(info.Env(), peer);
}

} // namespace

void defineSocketCalls(Napi::Env env, Napi::Object exports) {
  exports.Set("listenSocket", Napi::Function::New<listenCall>(env));
  exports.Set("createSocket", Napi::Function::New<createCall>(env));
  exports.Set("setSocketOptions", Napi::Function::New<setOptionsCall>(env));
  exports.Set("localPort", Napi::Function::New<portCall>(env));
  exports.Set("shutdownSocket", Napi::Function::New<shutdownCall>(env));
  exports.Set("closeFd", Napi::Function::New<closeCall>(env));
  exports.Set("socketPeer", Napi::Function::New<peerCall>(env));
}

} // namespace mooncake::io
