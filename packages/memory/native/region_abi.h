/* The only thing that addon packages share: a C header. No symbol is linked across .node files. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define MOONCAKE_REGION_ABI_VERSION 1u
/* N-API type tag of the External that carries a `mooncake_region *`. */
#define MOONCAKE_REGION_TAG_LOWER 0x6d6f6f6e63616b65ULL
#define MOONCAKE_REGION_TAG_UPPER 0x726567696f6e0001ULL

enum { MOONCAKE_MEMORY_HOST = 0 };
/* Flags. Read-only: a write to the bytes ends the process, one by a device ends in an error. */
enum { MOONCAKE_REGION_READ_ONLY = 1 };

typedef struct mooncake_region {
  uint32_t abi_version;  /* MOONCAKE_REGION_ABI_VERSION of the package that made it */
  uint32_t struct_bytes; /* sizeof(mooncake_region) there: lets fields be appended */
  uint8_t *base;
  uint64_t length_bytes; /* 0 from the moment its owner closes it: check bounds on the JavaScript thread, then retain */
  uint32_t memory_kind; /* MOONCAKE_MEMORY_* */
  int32_t fd;           /* memfd behind the memory, or -1; owned by the region */
  /* Thread-safe. Memory lives while anybody retains it, whatever JavaScript does (I2). */
  void (*retain)(struct mooncake_region *);
  void (*release)(struct mooncake_region *);
  void *owner;
  uint32_t flags; /* MOONCAKE_REGION_*; there when struct_bytes says so */
} mooncake_region;
