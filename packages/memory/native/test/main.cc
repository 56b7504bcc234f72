#include "check.h"

int main() {
  TestCrc32c();
  TestRegion();
  TestMapping();
  TestBatch();
  TestCopyPool();
  std::puts("native tests passed");
}
