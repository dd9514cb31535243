/**
 * Entry point of a hashing thread of `hash-pool.ts`: runs jobs from the shared queue until none is left.
 * @module
 */
import * as fs from 'node:fs';
import { workerData } from 'node:worker_threads';
import type { Queue } from './hash-queue.ts';
import { workQueue } from './hash-queue.ts';

workQueue(workerData as Queue, fs);
