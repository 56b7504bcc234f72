#pragma once
#include <cstddef>
#include <cstdint>

namespace mooncake {

/* CRC-32C (Castagnoli) of `length_bytes` bytes, going on from `seed`: the checksum of what came before, or 0. */
uint32_t Crc32c(uint32_t seed, const uint8_t* bytes, size_t length_bytes);

/* The share of a piece with checksum `crc` in the checksum of the whole, when `following_bytes` come after the piece.
 * The checksum of the whole is the XOR of all shares, so pieces can be computed in any order. */
uint32_t Crc32cShift(uint32_t crc, uint64_t following_bytes);

/* Which implementation this processor gets: "sse4.2", "armv8-crc" or "table". */
const char* Crc32cImplementation();

/* The portable implementation, for processors without the instruction, and for tests. */
uint32_t Crc32cPortable(uint32_t seed, const uint8_t* bytes, size_t length_bytes);

}  // namespace mooncake
