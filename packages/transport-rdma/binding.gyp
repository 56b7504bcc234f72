{
  'targets': [
    {
      'target_name': 'transport_rdma',
      'sources': [
        'native/binding.cc',
        'native/binding_support.cc',
        'native/device_binding.cc',
        'native/message_binding.cc',
        'native/table_binding.cc',
        'native/core/data_thread.cc',
        'native/core/device.cc',
        'native/core/device_thread.cc',
        'native/core/endpoint.cc',
        'native/core/engine.cc',
        'native/core/message_engine.cc',
        'native/core/message_stream.cc',
        'native/core/message_thread.cc',
        'native/core/queue_pair.cc',
        'native/core/registration.cc',
        'native/core/verbs.cc',
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
      # Device threads may run our code for a moment after the worker thread that loaded us has ended.
      'ldflags': ['-Wl,-z,nodelete'],
      # libibverbs is loaded at run time.
      'libraries': ['-ldl', '-pthread'],
    },
  ],
}
