#!/bin/busybox sh
# Process 1 of the guest. Mounts a writable view of the host's files, runs /out/command.sh in it, and reports its exit
# code in two ways: the line VM-DONE on the serial port, and a byte for the isa-debug-exit device.
B=/bin/busybox

# The byte is 64 + code and QEMU has 7 bits for it, so codes above 60 share a value. 61 is ours: the machine is of no use.
finish() {
  code=$1
  [ "$code" -gt 60 ] && [ -z "$2" ] && code=60
  $B sync
  $B printf "\\$($B printf %o $((64 + code)))" | $B dd of=/dev/port bs=1 seek=$((0xf4)) 2>/dev/null
  # Only where the device is missing does anything run after that.
  $B sleep 1
  $B poweroff -f
}

give_up() {
  echo "$1"
  finish 61 ours
}

$B mount -t proc p /proc
$B mount -t sysfs s /sys
$B mount -t devtmpfs d /dev
for module in /modules/*.ko; do $B insmod "$module" || give_up "VM-INSMOD-FAILED $module"; done

P9=trans=virtio,version=9p2000.L,msize=512000
$B mount -t 9p -o $P9,cache=loose,ro host /host || give_up "VM-NO-ROOT host"
$B mount -t 9p -o $P9,cache=none out /out || give_up "VM-NO-ROOT out"
$B mount -t tmpfs t /over
$B mkdir /over/upper /over/work
# Before the overlay is mounted: below it, an unpacked file would first be looked for on the host.
top=/over/upper$($B cat /out/root)
$B mkdir -p "$top"
$B tar -x -C "$top" -f /out/programs.tar || give_up VM-NO-PROGRAMS
$B mount -t overlay -o lowerdir=/host,upperdir=/over/upper,workdir=/over/work o /top || give_up "VM-NO-ROOT overlay"
for tree in dev proc sys; do $B mount --rbind /$tree /top/$tree; done
$B mkdir -p /dev/shm /dev/pts
$B mount -t tmpfs t /dev/shm
$B mount -t devpts p /dev/pts
$B mount -t tmpfs t /top/run
$B mkdir -p /top/run/vm
$B mount --bind /out /top/run/vm

echo "VM-BOOTED $($B cut -d' ' -f1 /proc/uptime)"
$B chroot /top /bin/bash /run/vm/command.sh >/out/log 2>&1
code=$?
echo "VM-DONE rc=$code"
finish $code
