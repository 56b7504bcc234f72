{
  "targets": [
    {
      "target_name": "mooncake_memory",
      "sources": [
        "native/binding/addon.cc",
        "native/binding/instance.cc",
        "native/binding/pool_binding.cc",
        "native/binding/prefault_binding.cc",
        "native/binding/region_binding.cc",
        "native/core/batch.cc",
        "native/core/copy_pool.cc",
        "native/core/crc32c.cc",
        "native/core/mapping.cc",
        "native/core/prefault.cc",
        "native/core/region.cc",
        "native/core/stream_copy.cc"
      ],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      # Swallow: while a worker thread is being terminated nothing can be thrown at it, and that must not end the process.
      "defines": ["NAPI_VERSION=8", "NAPI_CPP_EXCEPTIONS", "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"],
      "cflags!": ["-fno-exceptions"],
      "cflags_cc!": ["-fno-exceptions", "-std=gnu++17", "-fno-rtti"],
      "cflags_cc": ["-std=c++20", "-O3", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden"],
      "conditions": [
        ["OS=='linux'", {
          # Other addons call `release` of a Region after the worker thread that loaded us has ended.
          "ldflags": ["-Wl,-z,nodelete"]
        }],
        ["target_arch=='arm64'", { "cflags_cc": ["-march=armv8-a+crc"] }]
      ]
    }
  ]
}
