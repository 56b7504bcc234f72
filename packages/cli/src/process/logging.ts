import { pino, type Logger as Pino } from 'pino'
import type { Logger } from '@mooncake-ts/core'

/** JSON lines on standard error, so that standard output stays free for what a command prints. */
export function createLogger(level: string, fields: object = {}): Logger {
  const stream = pino.destination({ dest: 2, sync: true }) // Lines survive a crash.
  return wrap(pino({ level, base: fields, timestamp: pino.stdTimeFunctions.isoTime }, stream))
}

function wrap(logger: Pino): Logger {
  return {
    debug: (message, fields) => {
      logger.debug(fields ?? {}, message)
    },
    info: (message, fields) => {
      logger.info(fields ?? {}, message)
    },
    warn: (message, fields) => {
      logger.warn(fields ?? {}, message)
    },
    error: (message, fields) => {
      logger.error(fields ?? {}, message)
    },
    child: fields => wrap(logger.child(fields)),
  }
}
