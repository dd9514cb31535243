/**
 * Entry point of a hashing thread of `hash-pool.ts`: runs jobs from the shared queue until none is left.
 * @module
 */
import * as fs from 'node:fs';
import type { Queue } from './hash-queue.ts';
import { workQueue } from './hash-queue.ts';

workQueue(process.getBuiltinModule('node:worker_threads').workerData as Queue, fs);
