#include "stream_copy.h"

#include <cstring>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

namespace mooncake {

#if defined(__x86_64__)

/* SSE2, which every x64 has: whole lines are gathered before they leave, so wider registers gain nothing (measured). */
void StreamCopy(uint8_t* to, const uint8_t* from, size_t length_bytes) {
  constexpr size_t kLineBytes = 64;
  const size_t off_line_bytes = reinterpret_cast<uintptr_t>(to) % kLineBytes;
  const size_t head_bytes = off_line_bytes == 0 ? 0 : kLineBytes - off_line_bytes;
  if (length_bytes < head_bytes + kLineBytes) {
    std::memcpy(to, from, length_bytes);
    return;
  }
  std::memcpy(to, from, head_bytes);
  size_t offset = head_bytes;
  for (; length_bytes - offset >= kLineBytes; offset += kLineBytes) {
    const auto* source = reinterpret_cast<const __m128i*>(from + offset);
    auto* target = reinterpret_cast<__m128i*>(to + offset);
    const __m128i first = _mm_loadu_si128(source);
    const __m128i second = _mm_loadu_si128(source + 1);
    const __m128i third = _mm_loadu_si128(source + 2);
    const __m128i fourth = _mm_loadu_si128(source + 3);
    _mm_stream_si128(target, first);
    _mm_stream_si128(target + 1, second);
    _mm_stream_si128(target + 2, third);
    _mm_stream_si128(target + 3, fourth);
  }
  _mm_sfence(); /* Streaming stores are not ordered by a release. */
  std::memcpy(to + offset, from + offset, length_bytes - offset);
}

#else

void StreamCopy(uint8_t* to, const uint8_t* from, size_t length_bytes) { std::memcpy(to, from, length_bytes); }

#endif

}  // namespace mooncake
