#pragma once
#include <cstdio>
#include <cstdlib>

// Unlike assert, in every build.
#define CHECK(condition) \
  do { \
    if (!(condition)) { \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      exit(1); \
    } \
  } while (false)

void testCore();
void testDevices();
void testMessages();
