/**
 * A queue of files to hash, shared by several threads.
 *
 * Promise: a job that is not finished counts as failed, no matter what happened to its thread.
 * @module
 */
import type { Disk } from './tree-reader.ts';
import { Hasher, openRegular } from './tree-reader.ts';

/** A file to hash (its bytes are also copied to the descriptor `into` if given), or a range of an open file. */
export type Job =
  | { readonly path: string; readonly into?: number | undefined }
  | { readonly fd: number; readonly start: number; readonly end: number };

/** Jobs and shared memory for their results. */
export type Queue = { readonly jobs: readonly Job[]; readonly shared: SharedArrayBuffer };

/** The result of a job; `undefined` if the file is missing, not regular, or unreadable. */
export type Result = { readonly digest: string; readonly size: number } | undefined;

const headBytes = 8;
const slotBytes = 48;
const states = { waiting: 0, done: 1, failed: 2 } as const;

/** Creates a queue of jobs. */
export function makeQueue(jobs: readonly Job[]): Queue {
  return { jobs, shared: new SharedArrayBuffer(headBytes + jobs.length * slotBytes) };
}

/** The results of all jobs. One view of each type covers them all: thousands of small views cost more than hashing. */
class Results {
  readonly #states: Int32Array;
  readonly #sizes: Float64Array;
  readonly #digests: Buffer;

  constructor({ shared }: Queue) {
    this.#states = new Int32Array(shared);
    this.#sizes = new Float64Array(shared);
    this.#digests = Buffer.from(shared);
  }

  /** Stores the result of a job and wakes the threads that wait for it. */
  store(index: number, result: Result): void {
    const at = headBytes + index * slotBytes;
    if (result !== undefined) {
      this.#sizes[(at + 8) / 8] = result.size;
      this.#digests.write(result.digest, at + 16, 32, 'hex');
    }
    Atomics.store(this.#states, at / 4, result === undefined ? states.failed : states.done);
    Atomics.notify(this.#states, at / 4);
  }

  /** Returns the result of a job, waiting at most `timeoutMs` milliseconds for it. */
  wait(index: number, timeoutMs: number): Result {
    const at = headBytes + index * slotBytes;
    if (Atomics.load(this.#states, at / 4) === states.waiting)
      Atomics.wait(this.#states, at / 4, states.waiting, timeoutMs);
    if (Atomics.load(this.#states, at / 4) !== states.done) return undefined;
    return { digest: this.#digests.toString('hex', at + 16, at + slotBytes), size: this.#sizes[(at + 8) / 8] ?? 0 };
  }
}

/** Runs jobs until none is left. */
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
      result = undefined; // the caller refuses a file without a digest
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
 * Returns the results of all jobs, in their order.
 * @param timeoutMs - how long to wait for each job on another thread before it counts as failed
 */
export function collectResults(queue: Queue, timeoutMs: number): Result[] {
  const results = new Results(queue);
  return queue.jobs.map((_, index) => results.wait(index, timeoutMs));
}
