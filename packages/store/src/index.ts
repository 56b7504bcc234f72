export { createStore } from './create-store.js'
export type * from './api/config.js'
export type * from './api/options.js'
export type * from './api/store.js'
