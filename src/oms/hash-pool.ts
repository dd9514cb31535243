/**
 * Hashes many files on several threads, including this one.
 *
 * A thread takes about 30 ms to start, so small trees are hashed only on this thread.
 * Proof: test/unit/oms/hash-pool.test.ts
 * @module
 */
import { extname } from 'node:path';
import type { Disk } from './tree-reader.ts';
import type { Job, Result } from './hash-queue.ts';
import { collectResults, makeQueue, workQueue } from './hash-queue.ts';

const { Worker } = process.getBuiltinModule('node:worker_threads');

const worthBytes = 64 << 20;
const patienceMs = 120_000;

/** Hashing in progress. `finish` runs jobs too, waits for the other threads, and returns the results in job order. */
type Hashing = { readonly finish: () => Result[] };

/** Starts hashing on other threads. Jobs should be sorted with the largest first. */
export function startHashing(disk: Disk, jobs: readonly Job[], totalBytes: number, threads: number): Hashing {
  const queue = makeQueue(jobs);
  const count = totalBytes < worthBytes ? 0 : Math.min(threads - 1, jobs.length - 1, 7);
  const entry = new URL(`./hash-worker${extname(import.meta.filename)}`, import.meta.url);
  const workers = Array.from({ length: Math.max(0, count) }, () => {
    const worker = new Worker(entry, {
      workerData: queue,
      execArgv: ['--disable-warning=ExperimentalWarning'],
      env: {},
      stdin: false,
      resourceLimits: { maxOldGenerationSizeMb: 64 },
    });
    worker.on('error', () => undefined); // its unfinished jobs count as failed
    worker.unref();
    return worker;
  });
  return {
    finish() {
      workQueue(queue, disk);
      const results = collectResults(queue, workers.length === 0 ? 0 : patienceMs);
      for (const worker of workers) void worker.terminate();
      return results;
    },
  };
}

/** Returns the results of all jobs, in their order. @internal */
export function hashJobs(disk: Disk, jobs: readonly Job[], totalBytes: number, threads: number): Result[] {
  return startHashing(disk, jobs, totalBytes, threads).finish();
}
