import { hasCode, MooncakeError } from '@mooncake-ts/core'
import type { ReplicateConfig } from '../api/options.js'
import { KEY_BYTES_MAX } from '../peers/protocol.js'

/** Copies that one put may ask for. */
const REPLICAS_MAX = 64

const FAULTS_OF_REQUEST = ['ERR_BUFFER_OVERFLOW', 'ERR_INVALID_KEY', 'ERR_INVALID_PARAMS'] as const

/** @throws ERR_INVALID_KEY */
export function assertKey(key: unknown): asserts key is string {
  if (typeof key !== 'string' || key.length === 0) {
    throw new MooncakeError('ERR_INVALID_KEY', 'A key must be a non-empty string')
  }
  // Three bytes at most for a UTF-16 unit: most keys need no counting.
  if (key.length * 3 > KEY_BYTES_MAX && Buffer.byteLength(key) > KEY_BYTES_MAX) {
    const message = `A key has at most ${KEY_BYTES_MAX} bytes, this one has ${Buffer.byteLength(key)}`
    throw new MooncakeError('ERR_INVALID_KEY', message)
  }
}

/** ReplicateConfig with its defaults. @throws ERR_INVALID_PARAMS */
export function replicateTerms(config: ReplicateConfig = {}): Required<ReplicateConfig> {
  const { replicaNum = 1, preferredSegments = [], softPin = false, hardPin = false } = config
  if (!Number.isSafeInteger(replicaNum) || replicaNum < 1 || replicaNum > REPLICAS_MAX) {
    const message = `replicate/replicaNum: expected a whole number from 1 to ${REPLICAS_MAX}, got ${String(replicaNum)}`
    throw new MooncakeError('ERR_INVALID_PARAMS', message)
  }
  return { replicaNum, preferredSegments, softPin, hardPin }
}

/** No other node could do better with what was asked for. */
export function isFaultOfRequest(error: unknown): boolean {
  return FAULTS_OF_REQUEST.some(code => hasCode(error, code))
}
