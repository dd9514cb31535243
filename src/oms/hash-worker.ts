/**
 * Entry of a hashing thread: takes jobs from the shared queue until none is left. See `threads.ts`.
 * @module
 */
import * as fs from 'node:fs';
import { workerData } from 'node:worker_threads';
import type { Queue } from './hash-queue.ts';
import { workQueue } from './hash-queue.ts';

workQueue(workerData as Queue, fs);
