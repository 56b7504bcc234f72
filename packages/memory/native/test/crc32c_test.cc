#include "../core/crc32c.h"

#include <cstring>
#include <random>
#include <vector>

#include "check.h"

using mooncake::Crc32c;
using mooncake::Crc32cPortable;
using mooncake::Crc32cShift;

namespace {

/* Bit by bit, from the definition. */
uint32_t Naive(uint32_t seed, const uint8_t* bytes, size_t length_bytes) {
  uint32_t crc = ~seed;
  for (size_t index = 0; index < length_bytes; index++) {
    crc ^= bytes[index];
    for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78 : 0);
  }
  return ~crc;
}

/* RFC 3720, appendix B.4, and the check value of the catalogues. */
void KnownVectors() {
  uint8_t bytes[32];
  std::memset(bytes, 0, sizeof(bytes));
  CHECK(Crc32c(0, bytes, 32) == 0x8a9136aa);
  std::memset(bytes, 0xff, sizeof(bytes));
  CHECK(Crc32c(0, bytes, 32) == 0x62a8ab43);
  for (uint8_t index = 0; index < 32; index++) bytes[index] = index;
  CHECK(Crc32c(0, bytes, 32) == 0x46dd794e);
  for (uint8_t index = 0; index < 32; index++) bytes[index] = static_cast<uint8_t>(31 - index);
  CHECK(Crc32c(0, bytes, 32) == 0x113fdb5c);
  CHECK(Crc32c(0, reinterpret_cast<const uint8_t*>("123456789"), 9) == 0xe3069283);
  CHECK(Crc32c(0, nullptr, 0) == 0);
}

}  // namespace

void TestCrc32c() {
  KnownVectors();
  std::mt19937_64 random(7);
  std::vector<uint8_t> bytes(40'000);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  for (int round = 0; round < 400; round++) {
    const size_t offset = random() % 16;
    const size_t length_bytes = random() % (round % 2 == 0 ? 900 : bytes.size() - 16);
    const uint8_t* start = bytes.data() + offset;
    const auto seed = static_cast<uint32_t>(random());
    const uint32_t expected = Naive(seed, start, length_bytes);
    CHECK(Crc32c(seed, start, length_bytes) == expected);
    CHECK(Crc32cPortable(seed, start, length_bytes) == expected);

    const size_t split = length_bytes == 0 ? 0 : random() % length_bytes;
    const uint32_t first = Crc32c(0, start, split);
    const uint32_t second = Crc32c(0, start + split, length_bytes - split);
    CHECK((Crc32cShift(first, length_bytes - split) ^ second) == Naive(0, start, length_bytes));
  }
}
