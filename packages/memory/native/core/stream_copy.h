#pragma once
#include <cstddef>
#include <cstdint>

namespace mooncake {

/* Copies past the caches: a plain store reads the line that it is about to overwrite, which costs a third of the bandwidth
 * of a large copy. For what is too large to be found in a cache later, and for ranges that do not overlap. Everything
 * is visible to other threads, as after memcpy, to whom the caller hands it over with a release. */
void StreamCopy(uint8_t* to, const uint8_t* from, size_t length_bytes);

}  // namespace mooncake
