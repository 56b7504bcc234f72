#!/usr/bin/env node
import { runNode } from '../commands/node.js'
import { runProgram } from '../process/run.js'

void runProgram('mooncake_client', runNode)
