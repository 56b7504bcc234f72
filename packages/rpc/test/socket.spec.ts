import { rpcSuites } from './suites/index.js'

rpcSuites()
