// What of the core needs no device, to be run under the sanitizers.
#include "check.h"

int main() {
  testCore();
  testDevices();
  testMessages();
  puts("ok");
}
