/**
 * What another process has open, as far as it matters to us: memory of ours, and sockets.
 *
 * Every descriptor is followed at each look, since one can take the place of another without a change of their number.
 * Threads may have tables of their own: those whose number of descriptors differs from the first one's are followed at
 * each look, the others in turn. A table that is longer than a look has time for is followed part by part: the next
 * look goes on where the last one stopped, and one that found something begins there again.
 *
 * Limits:  of a process with many threads, or with more than 512 descriptors, a descriptor is seen when its turn comes;
 *          how long that takes depends on their number: at most 512 descriptors and 4 threads a look, fewer when its
 *          time is over.
 * Source:  proc_pid_fd(5), proc_pid_task(5), clone(2) CLONE_FILES
 * Proof:   test/unit/watchdog/open-files.test.ts, test/attacks/6-debugger.test.ts
 * @module
 */
import type { Seen } from '../layers/6-intrusion/scan-result.ts';
import type { ProcReader } from '../linux/procfs/proc-reader.ts';
import { socketInode } from '../linux/procfs/descriptors.ts';
import type { MemoryDescriptors } from './memory-descriptors.ts';

const none: Seen<readonly number[]> = { value: [] };
/** The most descriptors of one table that one look follows. */
const mostAtOnce = 512;
/** The most threads whose tables one look follows although nothing speaks for it. */
const threadsInTurn = 4;
/** The most threads that one look counts, or follows in a process where something was found. */
const mostThreads = 256;
/** Descriptors of a table that are followed although the time is over, so that each look gets further. */
const leastAtOnce = 64;
/** Tables in whose middle a look stopped; beyond that they begin anew. */
const mostMarks = 512;

/** Whose descriptors are read, and how thoroughly. */
type Reading = {
  readonly pid: number;
  /** Of the process, or of a living thread of it. */
  readonly folder: string;
  readonly threads: number;
  readonly ours: ReadonlySet<number>;
  /** Read again what was hidden the last time. */
  readonly whole: boolean;
  /** Something was found here before: look at all threads. */
  readonly hot: boolean;
  /** Whether the time for this look is over. */
  readonly over: () => boolean;
};

export class OpenFiles {
  /** Places in the process's table, by its `status`. */
  slots = 0;
  /** Pids of ours whose memory it has open; `missing` where its descriptors are hidden from us. */
  memories: Seen<readonly number[]> = none;
  /** Inodes of its sockets. */
  sockets: readonly number[] = [];
  readonly #eyes: ProcReader;
  readonly #memory: MemoryDescriptors;
  /** Whether the last look had no time for all of it. */
  unfinished = false;
  /** Where the next look begins in a table, by its folder. */
  readonly #marks = new Map<string, number>();
  #nextThread = 0;
  /** The thread at which the next look begins, when the last one was cut there or found something. */
  #resume: number | undefined;

  constructor(eyes: ProcReader, memory: MemoryDescriptors) {
    this.#eyes = eyes;
    this.#memory = memory;
  }

  read(reading: Reading): void {
    if (!reading.whole && !('value' in this.memories)) return; // hidden the last time; asked again when it is read whole
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

  /** Follows one table, all of it or its next part; how many descriptors it has. */
  #follow(
    folder: string,
    { ours, over }: Reading,
    memories: Set<number>,
    sockets: number[],
  ): number | { readonly missing: 'denied' | 'gone' | 'failed' } {
    const counted = this.#eyes.count(`${folder}/fd`);
    if (!('value' in counted)) return counted;
    let nameAt = (index: number) => String(index);
    let total = this.slots;
    const byNumber = counted.value > mostAtOnce && this.slots > 0;
    if (!byNumber) {
      const listed = this.#eyes.list(`${folder}/fd`);
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
      const link = this.#eyes.link(`${folder}/fd/${name}`);
      if (!('value' in link)) continue;
      const inode = socketInode(link.value);
      if (inode !== undefined) sockets.push(inode);
      const owner = this.#memory.openedBy(folder, name, link.value, ours);
      if (owner === undefined) continue;
      memories.add(owner);
      found ??= index;
    }
    // What was found is looked at again by the next look.
    this.#mark(folder, found ?? next);
    return counted.value > 0 ? counted.value : total;
  }

  #mark(folder: string, index: number): void {
    if (this.#marks.size >= mostMarks) this.#marks.clear();
    if (index === 0) this.#marks.delete(folder);
    else this.#marks.set(folder, index);
  }

  #followThreads(reading: Reading, size: number, memories: Set<number>, sockets: number[]): void {
    const tasks = this.#eyes.list(`/proc/${reading.pid}/task`);
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
      const counted = this.#eyes.count(`${folder}/fd`);
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
