#pragma once
#include <cstdio>
#include <cstdlib>

/* Unlike assert, in every build. */
#define CHECK(condition)                                                          \
  do {                                                                            \
    if (!(condition)) {                                                           \
      std::fprintf(stderr, "%s:%d: CHECK(%s)\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                               \
    }                                                                             \
  } while (false)

void TestCrc32c();
void TestRegion();
void TestMapping();
void TestBatch();
void TestCopyPool();
void TestPrefault();
