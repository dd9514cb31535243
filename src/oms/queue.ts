/**
 * A queue of files to hash that several threads empty together: each takes the next one, the largest come first.
 *
 * Promise: a job that was not finished counts as failed, whatever happened to its thread.
 * @module
 */
import type { Disk } from './disk.ts';
import { Hasher, openRegular } from './disk.ts';

/** One digest to make: of a file by path, whose bytes are copied on the way `into` a descriptor, or of a range of an open one. */
export type Job = { readonly path: string; readonly into?: number | undefined } | { readonly fd: number; readonly start: number; readonly end: number };

/** Jobs and shared memory for their results. */
export type Queue = { readonly jobs: readonly Job[]; readonly shared: SharedArrayBuffer };

/** What came of one job: `undefined` when the file is absent, no regular file, or could not be read. */
export type Result = { readonly digest: string; readonly size: number } | undefined;

const headBytes = 8;
const slotBytes = 48;
const states = { waiting: 0, done: 1, failed: 2 } as const;

/** A queue over the jobs, in their order. */
export function makeQueue(jobs: readonly Job[]): Queue {
  return { jobs, shared: new SharedArrayBuffer(headBytes + jobs.length * slotBytes) };
}

function slot(queue: Queue, index: number): { state: Int32Array; size: Float64Array; digest: Buffer } {
  const at = headBytes + index * slotBytes;
  return { state: new Int32Array(queue.shared, at, 1), size: new Float64Array(queue.shared, at + 8, 1), digest: Buffer.from(queue.shared, at + 16, 32) };
}

/** Takes and does jobs until none is left. */
export function workQueue(queue: Queue, disk: Disk): void {
  const hasher = new Hasher(disk);
  const next = new Int32Array(queue.shared, 0, 1);
  for (;;) {
    const index = Atomics.add(next, 0, 1);
    const job = queue.jobs[index];
    if (job === undefined) return;
    const { state, size, digest } = slot(queue, index);
    let outcome: number = states.failed;
    try {
      const hashed = 'path' in job ? hashPath(hasher, disk, job.path, job.into) : hasher.range(job.fd, job.start, job.end);
      if (hashed !== undefined) {
        size[0] = hashed.size;
        digest.set(Buffer.from(hashed.digest, 'hex'));
        outcome = states.done;
      }
    } catch {
      outcome = states.failed; // the caller refuses what has no digest
    }
    Atomics.store(state, 0, outcome);
    Atomics.notify(state, 0);
  }
}

function hashPath(hasher: Hasher, disk: Disk, path: string, into: number | undefined): { size: number; digest: string } | undefined {
  const opened = openRegular(disk, path);
  if (opened === undefined) return undefined;
  try {
    return hasher.whole(opened.fd, into);
  } finally {
    disk.closeSync(opened.fd);
  }
}

/** Waits for a job that another thread took; a thread that says nothing for so long counts as failed. */
export function waitResult(queue: Queue, index: number, timeoutMs: number): Result {
  const { state, size, digest } = slot(queue, index);
  Atomics.wait(state, 0, states.waiting, timeoutMs);
  return Atomics.load(state, 0) === states.done ? { digest: Buffer.from(digest).toString('hex'), size: size[0] ?? 0 } : undefined;
}
