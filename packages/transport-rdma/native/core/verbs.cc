#include "verbs.h"

#include <dlfcn.h>

#include <cstring>

namespace mooncake::rdma {

namespace {

constexpr const char *kLibrary = "libibverbs.so.1";

class Symbols {
public:
  explicit Symbols(void *library) : library_(library) {}

  // Several symbols have an old version for programs of 2008; plain dlsym gives the default one, but only by custom.
  template <typename Function> void find(Function &function, const char *name, const char *version = "IBVERBS_1.1") {
    void *symbol = dlvsym(library_, name, version);
    if (symbol == nullptr) symbol = dlsym(library_, name);
    if (symbol == nullptr && missing_ == nullptr) missing_ = name;
    function = reinterpret_cast<Function>(symbol);
  }

  const char *missing() const { return missing_; }

private:
  void *const library_;
  const char *missing_ = nullptr;
};

} // namespace

std::shared_ptr<const Verbs> Verbs::load(std::string &problem) {
  void *library = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    problem = dlerror();
    return nullptr;
  }
  // Never closed: its providers have threads and handlers of their own.
  auto verbs = std::make_shared<Verbs>();
  Symbols symbols(library);
  symbols.find(verbs->getDeviceList, "ibv_get_device_list");
  symbols.find(verbs->freeDeviceList, "ibv_free_device_list");
  symbols.find(verbs->getDeviceName, "ibv_get_device_name");
  symbols.find(verbs->openDevice, "ibv_open_device");
  symbols.find(verbs->closeDevice, "ibv_close_device");
  symbols.find(verbs->queryDevice, "ibv_query_device");
  symbols.find(verbs->queryPortOld, "ibv_query_port");
  symbols.find(verbs->queryGid, "ibv_query_gid");
  symbols.find(verbs->allocPd, "ibv_alloc_pd");
  symbols.find(verbs->deallocPd, "ibv_dealloc_pd");
  symbols.find(verbs->regMr, "ibv_reg_mr");
  symbols.find(verbs->deregMr, "ibv_dereg_mr");
  symbols.find(verbs->createCompChannel, "ibv_create_comp_channel", "IBVERBS_1.0");
  symbols.find(verbs->destroyCompChannel, "ibv_destroy_comp_channel", "IBVERBS_1.0");
  symbols.find(verbs->createCq, "ibv_create_cq");
  symbols.find(verbs->destroyCq, "ibv_destroy_cq");
  symbols.find(verbs->getCqEvent, "ibv_get_cq_event");
  symbols.find(verbs->ackCqEvents, "ibv_ack_cq_events");
  symbols.find(verbs->createQp, "ibv_create_qp");
  symbols.find(verbs->modifyQp, "ibv_modify_qp");
  symbols.find(verbs->destroyQp, "ibv_destroy_qp");
  symbols.find(verbs->getAsyncEvent, "ibv_get_async_event");
  symbols.find(verbs->ackAsyncEvent, "ibv_ack_async_event");
  symbols.find(verbs->wcStatusText, "ibv_wc_status_str");
  symbols.find(verbs->eventTypeText, "ibv_event_type_str");
  if (symbols.missing() != nullptr) {
    problem = std::string(kLibrary) + " has no " + symbols.missing();
    return nullptr;
  }
  verbs->regMrIova2 = reinterpret_cast<decltype(verbs->regMrIova2)>(dlsym(library, "ibv_reg_mr_iova2"));
  verbs->queryGidTable = reinterpret_cast<decltype(verbs->queryGidTable)>(dlsym(library, "_ibv_query_gid_table"));
  return verbs;
}

int Verbs::queryPort(ibv_context *context, uint8_t port, ibv_port_attr *attributes) const {
  std::memset(attributes, 0, sizeof *attributes);
  const verbs_context *extended = verbs_get_ctx_op(context, query_port);
  if (extended != nullptr) {
    return extended->query_port(context, port, attributes, sizeof *attributes);
  }
  return queryPortOld(context, port, reinterpret_cast<_compat_ibv_port_attr *>(attributes));
}

} // namespace mooncake::rdma
