/**
 * What another process has open, as far as it matters: memory of the server, and sockets.
 *
 * Every descriptor is followed in each scan, because one can replace another without a change of their number. Threads
 * may have descriptor tables of their own: a table with another number of descriptors than the first one is followed in
 * each scan, the others in turn. A table that takes too long is followed part by part: the next scan continues where
 * the last one stopped, and if something was found, it begins there again.
 *
 * Limits:  in a process with many threads, or with more than 512 descriptors, a descriptor is seen when its turn comes:
 *          at most 512 descriptors and 4 threads per scan, fewer when the time is over.
 * Source:  proc_pid_fd(5), proc_pid_task(5), clone(2) CLONE_FILES
 * Proof:   test/unit/watchdog/open-files.test.ts, test/attacks/6-debugger.test.ts
 * @module
 */
import type { Seen } from '../layers/6-intrusion/scan-result.ts';
import type { ProcReader } from '../linux/procfs/proc-reader.ts';
import { socketInode } from '../linux/procfs/descriptors.ts';
import type { MemoryDescriptors } from './memory-descriptors.ts';

const none: Seen<readonly number[]> = { value: [] };
/** The most descriptors of one table that are followed in one scan. */
const mostAtOnce = 512;
/** The most threads whose tables are followed in turn in one scan. */
const threadsInTurn = 4;
/** The most threads whose descriptors are counted in one scan, or followed in a process where something was found. */
const mostThreads = 256;
/** Descriptors of a table that are followed even when the time is over, so that each scan makes progress. */
const leastAtOnce = 64;
/** The most tables with a remembered position; beyond that all begin anew. */
const mostMarks = 512;

/** Whose descriptors are read, and how thoroughly. */
type Reading = {
  readonly pid: number;
  /** The folder in `/proc` of the process, or of a running thread of it. */
  readonly folder: string;
  readonly threads: number;
  readonly ownPids: ReadonlySet<number>;
  /** Whether to try again what was hidden the last time. */
  readonly whole: boolean;
  /** Whether something was found here before: then all threads are followed. */
  readonly hot: boolean;
  /** Returns whether the time for this process is over. */
  readonly over: () => boolean;
};

export class OpenFiles {
  /** Size of the process's descriptor table (`FDSize` in `status`). */
  slots = 0;
  /** Pids of the server whose memory it has open; `missing` if its descriptors are hidden. */
  memories: Seen<readonly number[]> = none;
  /** Inodes of its sockets. */
  sockets: readonly number[] = [];
  readonly #proc: ProcReader;
  readonly #memory: MemoryDescriptors;
  /** Whether the last scan had no time for all of it. */
  unfinished = false;
  /** Where the next scan begins in a table, by its folder. */
  readonly #marks = new Map<string, number>();
  #nextThread = 0;
  /** The thread at which the next scan begins, if the last one stopped there or found something. */
  #resume: number | undefined;

  constructor(proc: ProcReader, memory: MemoryDescriptors) {
    this.#proc = proc;
    this.#memory = memory;
  }

  read(reading: Reading): void {
    if (!reading.whole && !('value' in this.memories)) return; // hidden the last time
    const memories = new Set<number>();
    const sockets: number[] = [];
    this.unfinished = false;
    this.#memory.begin();
    const size = this.#follow(reading.folder, reading, memories, sockets);
    if (typeof size !== 'number') {
      this.memories = size.missing === 'gone' ? none : { missing: size.missing };
      this.sockets = [];
      return;
    }
    if (reading.threads > 1) this.#followThreads(reading, size, memories, sockets);
    this.memories = memories.size === 0 ? none : { value: [...memories] };
    this.sockets = sockets;
  }

  /** Follows one table, all of it or its next part. Returns how many descriptors it has. */
  #follow(
    folder: string,
    { ownPids, over }: Reading,
    memories: Set<number>,
    sockets: number[],
  ): number | { readonly missing: 'denied' | 'gone' | 'failed' } {
    const counted = this.#proc.count(`${folder}/fd`);
    if (!('value' in counted)) return counted;
    let nameAt = (index: number) => String(index);
    let total = this.slots;
    const byNumber = counted.value > mostAtOnce && this.slots > 0;
    if (!byNumber) {
      const listed = this.#proc.list(`${folder}/fd`);
      if (!('value' in listed)) return listed;
      nameAt = (index) => listed.value[index] ?? '';
      total = Math.min(listed.value.length, 2 * mostAtOnce);
    }
    const marked = this.#marks.get(folder) ?? 0;
    const from = marked >= total ? 0 : marked;
    const length = byNumber ? Math.min(mostAtOnce, total - from) : total;
    let next = byNumber ? from + length : 0;
    let found: number | undefined;
    for (let step = 0; step < length; step += 1) {
      const index = (from + step) % total;
      if (step >= leastAtOnce && over()) {
        next = index;
        this.unfinished = true;
        break;
      }
      const name = nameAt(index);
      const link = this.#proc.link(`${folder}/fd/${name}`);
      if (!('value' in link)) continue;
      const inode = socketInode(link.value);
      if (inode !== undefined) sockets.push(inode);
      const owner = this.#memory.openedBy(folder, name, link.value, ownPids);
      if (owner === undefined) continue;
      memories.add(owner);
      found ??= index;
    }
    // What was found is followed first in the next scan.
    this.#mark(folder, found ?? next);
    return counted.value > 0 ? counted.value : total;
  }

  #mark(folder: string, index: number): void {
    if (this.#marks.size >= mostMarks) this.#marks.clear();
    if (index === 0) this.#marks.delete(folder);
    else this.#marks.set(folder, index);
  }

  #followThreads(reading: Reading, size: number, memories: Set<number>, sockets: number[]): void {
    const tasks = this.#proc.list(`/proc/${reading.pid}/task`);
    if (!('value' in tasks)) return;
    const { length } = tasks.value;
    const from = (this.#resume ?? (length > mostThreads ? this.#nextThread : 0)) % length;
    this.#resume = undefined;
    let inTurn = reading.hot ? mostThreads : threadsInTurn;
    let last = this.#nextThread;
    let found: number | undefined;
    let followed = 0;
    for (let step = 0; step < Math.min(length, mostThreads); step += 1) {
      const index = (from + step) % length;
      const folder = `/proc/${reading.pid}/task/${tasks.value[index] ?? ''}`;
      if (folder === reading.folder || index === 0) continue; // the first thread is the process itself
      if (followed > 0 && reading.over()) {
        this.#resume = index;
        this.unfinished = true;
        break;
      }
      const counted = this.#proc.count(`${folder}/fd`);
      const differs = 'value' in counted && counted.value !== size;
      const turn = inTurn > 0 && (reading.hot || index >= this.#nextThread);
      if (!differs && !turn) continue;
      if (turn) {
        inTurn -= 1;
        last = index + 1;
      }
      const before = memories.size;
      this.#follow(folder, reading, memories, sockets);
      followed += 1;
      if (memories.size > before) found ??= index;
    }
    this.#resume = found ?? this.#resume;
    this.#nextThread = last >= length ? 0 : last;
  }
}
