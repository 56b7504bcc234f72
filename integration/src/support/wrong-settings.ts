const tiers = (entry: object): string => `--tiered_backend_config=${JSON.stringify({ tiers: [entry] })}`

/** Settings that are refused with one sentence, which has these words, and exit code 2. */
export const WRONG: ReadonlyArray<
  readonly [
    what: string,
    program: string,
    args: readonly string[],
    words: readonly string[],
    env?: Readonly<Record<string, string>>,
  ]
> = [
  ['an unknown flag', 'mooncake_master', ['--rpc_prot=1'], ['--rpc_prot', 'Did you mean --rpc_port?']],
  ['a value of the wrong type', 'mooncake_master', ['--rpc_port', 'abc'], ['--rpc_port', '"abc"']],
  ['a port out of range', 'mooncake_client', ['--client-rpc-port=65536'], ['--client_rpc_port', '"65536"']],
  ['a flag without its value', 'mooncake_client', ['--name'], ['--name']],
  ['a word too many', 'mooncake_master', ['now'], ['too many arguments']],
  ['a choice that is none', 'mooncake_master', ['--log_level=loud'], ['--log_level', 'debug, info']],
  ['the other mode', 'mooncake_master', ['--deployment_mode=Centralization'], ['--deployment_mode', 'P2P']],
  ['a known flag that is not built', 'mooncake_master', ['-enable_ha'], ['--enable_ha', 'not built yet']],
  [
    'two flags that contradict',
    'mooncake_master',
    ['--client_ttl=9', '--client_crashed_ttl=9'],
    ['--client_crashed_ttl'],
  ],
  ['an unknown tier', 'mooncake_client', [tiers({ type: 'TAPE', capacity: 1 })], ['tiers/0/type', 'TAPE']],
  [
    'a tier that is not built',
    'mooncake_client',
    [tiers({ type: 'ASCEND_NPU', capacity: 1 })],
    ['tiers/0/type', 'not built'],
  ],
  [
    'a disk without a directory',
    'mooncake_client',
    [tiers({ type: 'DISK', capacity: 1 })],
    ['tiers/0/storage_filepath', 'expected the directory'],
  ],
  [
    'capacity 0',
    'mooncake_client',
    [tiers({ type: 'DRAM', capacity: 0 })],
    ['tiers/0/capacity', 'more than 0'],
  ],
  [
    'capacity 0 in short',
    'mooncake_client',
    ['--global_segment_size=0'],
    ['--global_segment_size', 'at least 1'],
  ],
  [
    'a field too many',
    'mooncake_client',
    [tiers({ type: 'DRAM', capacity: 1, color: 1 })],
    ['tiers/0/color'],
  ],
  [
    'bad JSON',
    'mooncake_client',
    ['--tiered_backend_config={"tiers":['],
    ['--tiered_backend_config', 'not valid JSON'],
  ],
  [
    'no such secret file',
    'mooncake_client',
    ['--cluster_secret_file=/nowhere'],
    ['--cluster_secret_file', '/nowhere'],
  ],
  [
    'no such config file',
    'mooncake_master',
    ['--config_path=/nowhere.yaml'],
    ['--config_path', '/nowhere.yaml'],
  ],
  [
    'a wide bind without a secret',
    'mooncake_client',
    ['--host=0.0.0.0', '--port=0', '--client_rpc_port=0'],
    ['0.0.0.0', 'secret'],
  ],
  ['an unknown command', 'mooncake', ['frobnicate'], ['"frobnicate"', 'replay']],
  ['a command without its key', 'mooncake', ['get'], ['KEY']],
  ['no replicas', 'mooncake', ['replay', '--replicas=0'], ['--replicas', 'at least 1']],
  [
    'a transport and a protocol that contradict',
    'mooncake_client',
    ['--transport=tcp', '--protocol=rdma'],
    ['--transport: tcp', '--protocol, which is rdma'],
  ],
  ['RDMA settings without RDMA', 'mooncake_client', ['--rdma_mtu=1024'], ['--rdma_mtu', 'RDMA']],
  ['devices of nobody', 'mooncake_master', ['--device_names=mlx5_0'], ['--device_names', 'RDMA']],
  [
    "the transport's settings for RPC alone",
    'mooncake_client',
    ['--rpc_protocol=rdma', '--rdma_max_wr=8'],
    ['--rdma_max_wr', '--transport=rdma'],
  ],
  [
    'a place for shared memory without any',
    'mooncake',
    ['ls', '--transport=tcp', '--shm_directory=/tmp'],
    ['--shm_directory', 'without shared memory'],
  ],
  [
    'two sizes of memory',
    'mooncake_client',
    ['--global_segment_size=1GiB', tiers({ type: 'DRAM', capacity: 4096 })],
    ['--global_segment_size', '--tiered_backend_config'],
  ],
  [
    'a disk that callers shall read',
    'mooncake_client',
    [
      '--p2p_transfer_direction_mode=forward',
      tiers({ type: 'STORAGE', capacity: '1GiB', storage_filepath: '/nowhere' }),
    ],
    ['--p2p_transfer_direction_mode', '--tiered_backend_config'],
  ],
  [
    'a scheduler that shall not be',
    'mooncake_client',
    [
      '--notier_scheduler',
      '--tiered_backend_config={"tiers":[{"type":"DRAM","capacity":4096}],"scheduler":{}}',
    ],
    ['--tier_scheduler', 'scheduler'],
  ],
  [
    'a size for a cluster that runs',
    'mooncake',
    ['replay', '--master_server_address=127.0.0.1:1', '--nodes=3'],
    ['--nodes', '--master_server_address'],
  ],
  [
    'a part of what is not built',
    'mooncake_master',
    ['--kv_events_bind_endpoint=tcp://0.0.0.0:5557'],
    ['--kv_events_bind_endpoint', 'not built yet'],
  ],
  ['a tenant', 'mooncake', ['ls'], ['MOONCAKE_TENANT_ID', 'not built yet'], { MOONCAKE_TENANT_ID: 'a' }],
  [
    'an offload by the environment',
    'mooncake_client',
    [],
    ['MOONCAKE_OFFLOAD_ENABLED', 'not built yet'],
    { MOONCAKE_OFFLOAD_ENABLED: 'true' },
  ],
]
