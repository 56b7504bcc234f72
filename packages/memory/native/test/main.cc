#include "check.h"

int main() {
  TestCrc32c();
  TestRegion();
  TestMapping();
  TestBatch();
  TestCopyPool();
  TestPrefault();
  std::puts("native tests passed");
}
