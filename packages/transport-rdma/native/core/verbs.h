#pragma once
#include <infiniband/verbs.h>

#include <memory>
#include <string>

// These macros of the header would refer to symbols of a library that is not linked.
#undef ibv_get_device_list
#undef ibv_query_port
#undef ibv_reg_mr

namespace mooncake::rdma {

// libibverbs, loaded at run time: the addon loads everywhere, also where there is no such library. What is inline in
// the header (ibv_post_send, ibv_poll_cq, …) goes through the context and needs no symbol.
struct Verbs {
  // Null, with a sentence in `problem`, where the library or one of its symbols is missing.
  static std::shared_ptr<const Verbs> load(std::string &problem);

  ibv_device **(*getDeviceList)(int *count);
  void (*freeDeviceList)(ibv_device **list);
  const char *(*getDeviceName)(ibv_device *device);
  ibv_context *(*openDevice)(ibv_device *device);
  int (*closeDevice)(ibv_context *context);
  int (*queryDevice)(ibv_context *context, ibv_device_attr *attributes);
  int (*queryPortOld)(ibv_context *context, uint8_t port, _compat_ibv_port_attr *attributes);
  int (*queryGid)(ibv_context *context, uint8_t port, int index, ibv_gid *gid);
  // Null in libraries before 2020.
  ssize_t (*queryGidTable)(ibv_context *context, ibv_gid_entry *entries, size_t entriesMax, uint32_t flags,
                           size_t entryBytes);
  ibv_pd *(*allocPd)(ibv_context *context);
  int (*deallocPd)(ibv_pd *pd);
  ibv_mr *(*regMr)(ibv_pd *pd, void *address, size_t lengthBytes, int access);
  // Null in libraries before 2019: then nothing is registered for relaxed ordering.
  ibv_mr *(*regMrIova2)(ibv_pd *pd, void *address, size_t lengthBytes, uint64_t iova, unsigned access);
  int (*deregMr)(ibv_mr *mr);
  ibv_comp_channel *(*createCompChannel)(ibv_context *context);
  int (*destroyCompChannel)(ibv_comp_channel *channel);
  ibv_cq *(*createCq)(ibv_context *context, int depth, void *tag, ibv_comp_channel *channel, int vector);
  int (*destroyCq)(ibv_cq *cq);
  int (*getCqEvent)(ibv_comp_channel *channel, ibv_cq **cq, void **tag);
  void (*ackCqEvents)(ibv_cq *cq, unsigned count);
  ibv_qp *(*createQp)(ibv_pd *pd, ibv_qp_init_attr *attributes);
  int (*modifyQp)(ibv_qp *qp, ibv_qp_attr *attributes, int mask);
  int (*destroyQp)(ibv_qp *qp);
  int (*getAsyncEvent)(ibv_context *context, ibv_async_event *event);
  void (*ackAsyncEvent)(ibv_async_event *event);
  const char *(*wcStatusText)(ibv_wc_status status);
  const char *(*eventTypeText)(ibv_event_type type);

  int queryPort(ibv_context *context, uint8_t port, ibv_port_attr *attributes) const;
};

} // namespace mooncake::rdma
