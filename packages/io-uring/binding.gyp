{
  'targets': [
    {
      'target_name': 'io_uring',
      'sources': [
        'native/binding.cc',
        'native/engine_binding.cc',
        'native/file_binding.cc',
        'native/socket_binding.cc',
        'native/core/completion_queue.cc',
        'native/core/engine.cc',
        'native/core/file_pool.cc',
        'native/core/inline_ring.cc',
        'native/core/memory_table.cc',
        'native/core/operation.cc',
        'native/core/reactor.cc',
        'native/core/ring_driver.cc',
        'native/core/ring_thread.cc',
        'native/core/sockets.cc',
        'native/core/thread_executor.cc',
        'native/core/uring.cc',
      ],
      'include_dirs': [
        "<!(node -p \"require('node-addon-api').include_dir\")",
        # region_abi.h; only the build needs it, published packages carry the binary.
        '../memory/native',
      ],
      'defines': [
        'NAPI_VERSION=8',
        'NODE_ADDON_API_CPP_EXCEPTIONS_ALL',
        'NODE_ADDON_API_DISABLE_DEPRECATED',
        # While a worker thread is being terminated nothing can be thrown at it, and that must not end the process.
        'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS',
      ],
      'cflags_cc!': ['-fno-exceptions', '-fno-rtti', '-std=gnu++17'],
      'cflags_cc': ['-std=c++20', '-fexceptions', '-fvisibility=hidden', '-Wall', '-Wextra', '-Werror'],
      # Ring threads may run our code for a moment after the worker thread that loaded us has ended.
      'ldflags': ['-Wl,-z,nodelete'],
    },
  ],
}
