#pragma once
#include <napi.h>

#include <memory>

#include "core/window_table.h"

namespace mooncake::rdma {

// The JavaScript face of a WindowTable. It only translates; src/native.ts has the types.
class TableBinding final : public Napi::ObjectWrap<TableBinding> {
public:
  static Napi::Function define(Napi::Env env);
  explicit TableBinding(const Napi::CallbackInfo &info);

  const std::shared_ptr<WindowTable> &table() const { return table_; }

private:
  Napi::Value add(const Napi::CallbackInfo &info);
  void publish(const Napi::CallbackInfo &info);
  void shut(const Napi::CallbackInfo &info);
  void remove(const Napi::CallbackInfo &info);
  Napi::Value inUse(const Napi::CallbackInfo &info);

  std::shared_ptr<WindowTable> table_;
};

} // namespace mooncake::rdma
