# Two Soft-RoCE devices in the guest, on the two ends of a veth pair, in one network namespace: on this kernel rxe knows no other.
# What one sends leaves a0 and arrives at b0, as on a wire, because martian and ARP rules are relaxed.
set -e
ip link set lo up
ip link add a0 type veth peer name b0
number=1
for link in a0 b0; do
  ip addr add 10.9.0.$number/24 dev $link
  # Jumbo frames: RoCE's own MTU is 4096 then, and 1024 otherwise.
  ip link set $link mtu 9000
  rules=/proc/sys/net/ipv4/conf/$link
  echo 1 >$rules/accept_local
  echo 0 >$rules/rp_filter
  echo 1 >$rules/arp_ignore
  echo 2 >$rules/arp_announce
  number=$((number + 1))
done
echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter
ip link set a0 up
ip link set b0 up
rdma link add rxe0 type rxe netdev a0
rdma link add rxe1 type rxe netdev b0

# A device is of use when its table has the address as ::ffff:10.9.0.N.
has_address() {
  grep -qs 'ffff:0a09:' /sys/class/infiniband/$1/ports/1/gids/* 2>/dev/null
}
for device in rxe0 rxe1; do
  for _ in $(seq 100); do
    has_address $device && break
    sleep 0.1
  done
  has_address $device || { echo "The guest's kernel gives $device no address."; exit 1; }
done
