/**
 * A queue of files to hash that several threads empty together: each takes the next one, the largest come first.
 *
 * Promise: a job that was not finished counts as failed, whatever happened to its thread.
 * @module
 */
import type { Disk } from './tree-reader.ts';
import { Hasher, openRegular } from './tree-reader.ts';

/**
 * One digest to make: of a file by path, whose bytes are copied on the way `into` a descriptor, or of a range of an
 * open one.
 */
export type Job =
  | { readonly path: string; readonly into?: number | undefined }
  | { readonly fd: number; readonly start: number; readonly end: number };

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

/**
 * The results of all jobs: one view of each kind over the whole, since thousands of small ones cost more than the
 * hashing.
 */
class Results {
  readonly #states: Int32Array;
  readonly #sizes: Float64Array;
  readonly #digests: Buffer;

  constructor({ shared }: Queue) {
    this.#states = new Int32Array(shared);
    this.#sizes = new Float64Array(shared);
    this.#digests = Buffer.from(shared);
  }

  /** Stores what came of a job, and wakes who waits for it. */
  store(index: number, result: Result): void {
    const at = headBytes + index * slotBytes;
    if (result !== undefined) {
      this.#sizes[(at + 8) / 8] = result.size;
      this.#digests.write(result.digest, at + 16, 32, 'hex');
    }
    Atomics.store(this.#states, at / 4, result === undefined ? states.failed : states.done);
    Atomics.notify(this.#states, at / 4);
  }

  /** What came of a job; waits for it at most so many milliseconds. */
  wait(index: number, timeoutMs: number): Result {
    const at = headBytes + index * slotBytes;
    if (Atomics.load(this.#states, at / 4) === states.waiting)
      Atomics.wait(this.#states, at / 4, states.waiting, timeoutMs);
    if (Atomics.load(this.#states, at / 4) !== states.done) return undefined;
    return { digest: this.#digests.toString('hex', at + 16, at + slotBytes), size: this.#sizes[(at + 8) / 8] ?? 0 };
  }
}

/** Takes and does jobs until none is left. */
export function workQueue(queue: Queue, disk: Disk): void {
  const hasher = new Hasher(disk);
  const next = new Int32Array(queue.shared, 0, 1);
  const results = new Results(queue);
  for (;;) {
    const index = Atomics.add(next, 0, 1);
    const job = queue.jobs[index];
    if (job === undefined) return;
    let result: Result;
    try {
      result = 'path' in job ? hashPath(hasher, disk, job.path, job.into) : hasher.range(job.fd, job.start, job.end);
    } catch {
      result = undefined; // the caller refuses what has no digest
    }
    results.store(index, result);
  }
}

function hashPath(
  hasher: Hasher,
  disk: Disk,
  path: string,
  into: number | undefined,
): { size: number; digest: string } | undefined {
  const opened = openRegular(disk, path);
  if (opened === undefined) return undefined;
  try {
    return hasher.whole(opened.fd, into);
  } finally {
    disk.closeSync(opened.fd);
  }
}

/**
 * What came of all jobs, in their order.
 * @param timeoutMs - how long to wait for each one that another thread took; one that takes longer counts as failed
 */
export function collectResults(queue: Queue, timeoutMs: number): Result[] {
  const results = new Results(queue);
  return queue.jobs.map((_, index) => results.wait(index, timeoutMs));
}
