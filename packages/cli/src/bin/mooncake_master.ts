#!/usr/bin/env node
import { runMaster } from '../commands/master.js'
import { runProgram } from '../process/run.js'

void runProgram('mooncake_master', runMaster)
