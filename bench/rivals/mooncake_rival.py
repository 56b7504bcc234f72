"""Drives the Python store of the real Mooncake, from the wheel that the harness has installed.

    mooncake_rival.py owner  MASTER METADATA SEGMENT_BYTES
    mooncake_rival.py client MASTER METADATA POOL_BYTES SEGMENT_BYTES

The owner gives memory to the cluster and does nothing else. The client gives none, so every byte crosses a
socket between two processes. It reads commands, one a line, and answers each with a line:

    load SIZE COUNT                     ok
    get|put SIZE BATCH DEPTH MILLIS     bytes seconds p50_us p99_us
    exists SIZE BATCH DEPTH MILLIS      keys seconds p50_us p99_us
    clear                               ok
"""

import ctypes
import mmap
import sys
import threading
import time

from mooncake.store import MooncakeDistributedStore

LOCAL_BUFFER_BYTES = 64 << 20
LOADED_BYTE = 0xA5
OTHER_BYTE = 0x11
# Generous: the rival never evicts while it is timed. Of its segment; it evicts from 0.9 on.
FILL_MAX = 0.75


def connect(master, metadata, segment_bytes):
    store = MooncakeDistributedStore()
    code = store.setup("127.0.0.1", metadata, segment_bytes, LOCAL_BUFFER_BYTES, "tcp", "", master)
    if code != 0:
        raise SystemExit(f"setup gave {code}")
    return store


class Client:
    def __init__(self, store, pool_bytes, segment_bytes):
        self.store = store
        self.pool = mmap.mmap(-1, pool_bytes)
        self.pool_bytes = pool_bytes
        self.segment_bytes = segment_bytes
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.pool))
        self.fill(LOADED_BYTE)
        if store.register_buffer(self.address, pool_bytes) != 0:
            raise SystemExit("register_buffer failed")
        self.loaded = 0
        self.next_new = 0
        self.put_bytes = 0
        self.lock = threading.Lock()

    def fill(self, byte):
        ctypes.memset(self.address, byte, self.pool_bytes)

    def load(self, size, count):
        self.fill(LOADED_BYTE)
        step = min(256, self.pool_bytes // size)
        for first in range(0, count, step):
            keys = [f"bench/{size}/{i}" for i in range(first, min(first + step, count))]
            self.put_keys(keys, size, 0)
        self.loaded = count

    def put_keys(self, keys, size, offset):
        pointers = [self.address + offset + i * size for i in range(len(keys))]
        codes = self.store.batch_put_from(keys, pointers, [size] * len(keys))
        if any(code != 0 for code in codes):
            raise RuntimeError(f"batch_put_from gave {codes}")

    def clear(self):
        self.store.remove_all(True)
        self.put_bytes = 0

    def run(self, operation, size, batch, depth, millis):
        if operation == "put":
            self.clear()
        elif operation == "get":
            self.fill(OTHER_BYTE)
        work = getattr(self, operation)
        part = self.pool_bytes // depth
        micros, errors, totals = [], [], []

        def drive(thread):
            cursor = Cursor(thread * part, part, self.loaded * thread // depth)
            done, own = 0, []
            try:
                while (now := time.perf_counter()) < end or not own:
                    done += work(cursor, size, batch)
                    own.append((time.perf_counter() - now) * 1e6)
                    if operation == "put" and not self.has_room(size * batch):
                        break
            except Exception as error:  # Told by the main thread.
                errors.append(error)
            micros.extend(own)
            totals.append(done)

        begun = time.perf_counter()
        end = begun + millis / 1000
        threads = [threading.Thread(target=drive, args=(i,)) for i in range(depth)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - begun
        if errors:
            raise errors[0]
        micros.sort()
        return f"{sum(totals)} {seconds:.6f} {micros[len(micros) // 2]:.1f} {micros[len(micros) * 99 // 100]:.1f}"

    def has_room(self, more_bytes):
        return self.put_bytes + more_bytes <= self.segment_bytes * FILL_MAX

    def get(self, cursor, size, batch):
        keys = [f"bench/{size}/{(cursor.key + i) % self.loaded}" for i in range(batch)]
        offset = cursor.advance(size, batch)
        pointers = [self.address + offset + i * size for i in range(batch)]
        codes = self.store.batch_get_into(keys, pointers, [size] * batch)
        if any(code != size for code in codes):
            raise RuntimeError(f"batch_get_into gave {codes}")
        for at in (offset, offset + size * batch - 1):
            if self.pool[at] != LOADED_BYTE:
                raise RuntimeError("the bytes that were read are not those that were put")
        return size * batch

    def put(self, cursor, size, batch):
        with self.lock:
            first = self.next_new
            self.next_new += batch
            self.put_bytes += size * batch
        keys = [f"new/{size}/{first + i}" for i in range(batch)]
        self.put_keys(keys, size, cursor.advance(size, batch))
        return size * batch

    def exists(self, cursor, size, batch):
        keys = [f"bench/{size}/{(cursor.key + i) % self.loaded}" for i in range(batch)]
        cursor.advance(0, batch)
        if any(answer != 1 for answer in self.store.batch_is_exist(keys)):
            raise RuntimeError("a key that was put does not exist")
        return batch


class Cursor:
    """Walks through a part of the pool, and through the keys."""

    def __init__(self, base, part, key):
        self.base, self.part, self.at, self.key = base, part, 0, key

    def advance(self, size, batch):
        if self.at + size * batch > self.part:
            self.at = 0
        offset = self.base + self.at
        self.at += size * batch
        self.key += batch
        return offset


def main():
    role, master, metadata = sys.argv[1:4]
    numbers = [int(word) for word in sys.argv[4:]]
    store = connect(master, metadata, numbers[0] if role == "owner" else 0)
    client = Client(store, numbers[0], numbers[1]) if role == "client" else None
    print("ready", flush=True)
    for line in sys.stdin:
        operation, *words = line.split()
        words = [int(word) for word in words]
        if operation == "load":
            client.load(*words)
            print("ok", flush=True)
        elif operation == "clear":
            client.clear()
            print("ok", flush=True)
        else:
            print(client.run(operation, *words), flush=True)
    store.close()


main()
