/**
 * Finds the relevant open files of another process: the server's memory, and sockets.
 *
 * Each scan reads the link of every descriptor, because one descriptor can replace another without changing the number
 * of descriptors. Threads may have their own descriptor tables. A table whose number of descriptors differs from that
 * of the first thread's table is read in each scan; the others are read in turn. A table that takes too long is read in
 * parts. The next scan continues where the last one stopped, or, if something was found, begins at that descriptor.
 *
 * Limits:  in a process with many threads, or with more than 512 descriptors, a descriptor is seen only when its turn
 *          comes. At most 512 descriptors and 4 threads are read per scan, and fewer if the time runs out.
 * Source:  proc_pid_fd(5), proc_pid_task(5), clone(2) CLONE_FILES
 * Proof:   test/unit/watchdog/open-files.test.ts, test/attacks/6-debugger.test.ts
 * @module
 */
import type { Seen } from '../layers/6-intrusion/scan-result.ts';
import type { ProcReader } from '../linux/procfs/proc-reader.ts';
import { socketInode } from '../linux/procfs/descriptors.ts';
import type { MemoryDescriptors } from './memory-descriptors.ts';

const none: Seen<readonly number[]> = { value: [] };
/** Maximum number of descriptors read from one table in one scan. */
const mostAtOnce = 512;
/** Maximum number of threads whose tables are read in turn in one scan. */
const threadsInTurn = 4;
/** Maximum number of threads whose descriptors are counted in one scan, or read if something was found before. */
const mostThreads = 256;
/** Number of descriptors read from a table even when time is up, so that each scan makes progress. */
const leastAtOnce = 64;
/** Maximum number of tables whose position is remembered; beyond that, every table is read from its beginning. */
const mostMarks = 512;

/** Which process's descriptors are read, and how thoroughly. */
type Reading = {
  readonly pid: number;
  /** The folder in `/proc` of the process, or of one of its running threads. */
  readonly folder: string;
  readonly threads: number;
  readonly ownPids: ReadonlySet<number>;
  /** Whether to retry a process whose descriptors were hidden last time. */
  readonly whole: boolean;
  /** Whether something was found in this process before, so that all of its threads are read. */
  readonly hot: boolean;
  /** Returns whether the time for this process is up. */
  readonly over: () => boolean;
};

export class OpenFiles {
  /** Number of slots in the process's descriptor table (`FDSize` in `status`). */
  slots = 0;
  /** Pids of the server's processes whose memory it has open; `missing` if its descriptors are hidden. */
  memories: Seen<readonly number[]> = none;
  /** Inodes of its sockets. */
  sockets: readonly number[] = [];
  readonly #proc: ProcReader;
  readonly #memory: MemoryDescriptors;
  /** Whether the last scan ran out of time before it had read everything. */
  unfinished = false;
  /** The position in each table at which the next scan begins, by the table's folder. */
  readonly #marks = new Map<string, number>();
  #nextThread = 0;
  /** The thread at which the next scan begins, if the last one stopped there or found something. */
  #resume: number | undefined;

  constructor(proc: ProcReader, memory: MemoryDescriptors) {
    this.#proc = proc;
    this.#memory = memory;
  }

  read(reading: Reading): void {
    if (!reading.whole && !('value' in this.memories)) return; // it was hidden last time
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

  /** Reads one table, or its next part. Returns the number of descriptors in it. */
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
    // If something was found, the next scan begins there.
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
