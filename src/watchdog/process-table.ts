/**
 * Remembers the machine's processes between scans, and in every scan reads those that are new or suspicious.
 *
 * During its first seconds, a process is read completely in every scan, because it may soon become another program.
 * Later it is read at least every five seconds (every ten once it has run for a minute), and completely if its name
 * changed, or every two minutes. A process with findings is read in every scan. A zombie can do nothing and is skipped.
 * A process whose first thread has ended continues in its other threads, and is read through one of them.
 *
 * Any user can start any number of processes, so a scan stops when its time is up, and the next scan begins with the
 * processes that have waited longest. The number of waiting processes and the longest wait are reported.
 *
 * Limits:  a process that is assigned the pid of an ended one between two scans is seen within ten seconds; for
 *          descriptors see `open-files.ts`.
 * Proof:   test/unit/watchdog/process-table.test.ts, test/bench/isolation.ts
 * @module
 */
import type { Overdue, ProcessState, Seen } from '../layers/6-intrusion/scan-result.ts';
import type { ProcReader } from '../linux/procfs/proc-reader.ts';
import { parseStat } from '../linux/procfs/task-stat.ts';
import { parseStatus } from '../linux/procfs/task-status.ts';
import type { MemoryDescriptors } from './memory-descriptors.ts';
import { OpenFiles } from './open-files.ts';

export const turnMs = 5000;
const youngMs = 3000;
/** A process that has run for this long is read half as often. */
const settledMs = 60_000;
const settledTurnMs = 10_000;
const wholeMs = 120_000;
/**
 * Maximum time that a scan spends on other processes, as a fraction of the interval. The first scan, which reads all
 * processes, may take longer.
 */
const budgetPart = 0.04;
const firstBudgetMs = 3000;
/** One process may take at most the scan's time divided by this number, however many files it has open. */
const onePart = 8;
const capSysPtrace = 1n << 19n;
const mostWords = 64;

type Entry = {
  readonly pid: number;
  readonly started: number;
  readonly firstSeen: number;
  /** Whether it is a kernel thread or a zombie, which have no program, memory or descriptors. */
  inert: boolean;
  /** Its folder in `/proc`, or that of one of its running threads. */
  folder: string;
  name: string;
  parent: number;
  threads: number;
  uid: number;
  privileged: boolean;
  argv: readonly string[];
  executable: string;
  readonly open: OpenFiles;
  nextLook: number;
  nextWhole: number;
  hot: boolean;
  mark: number;
};

/** Options of one scan. */
type TableOptions = {
  readonly intervalMs: number;
  /** Pids and thread ids of the server's own processes, which are skipped. */
  readonly ownPids: ReadonlySet<number>;
  /** Whether to read every descriptor now, to find the owner of a socket. */
  readonly everything: boolean;
};

/** The options of a scan, and the maximum time in milliseconds that one process may take. */
type Look = TableOptions & { readonly mostMs: number };

/** Returns the pids among the names in `/proc`. */
function pidsOf(names: readonly string[]): number[] {
  const pids: number[] = [];
  for (const name of names) {
    const first = name.charCodeAt(0);
    if (first >= 48 && first <= 57) pids.push(Number(name));
  }
  return pids;
}

export class ProcessTable {
  readonly #proc: ProcReader;
  readonly #memory: MemoryDescriptors;
  readonly #ownUid: number;
  readonly #clock: () => number;
  readonly #entries = new Map<number, Entry>();
  /** Processes that are listed but not yet read, with the time since which each has been waiting. */
  #waiting = new Map<number, number>();
  readonly #ownUserMap: string;
  #mark = 0;
  #scans = 0;
  /** Whether process 1 is listed; hidepid would hide it. */
  othersListed = true;
  /** The processes that the last scan had no time to read. */
  overdue: Overdue = { processes: 0, oldestMs: 0 };

  /** @param clock - returns milliseconds; limits the duration of a scan */
  constructor(proc: ProcReader, memory: MemoryDescriptors, ownUid: number, clock: () => number) {
    this.#proc = proc;
    this.#memory = memory;
    this.#ownUid = ownUid;
    this.#clock = clock;
    const map = proc.read('/proc/self/uid_map');
    this.#ownUserMap = 'value' in map ? map.value.trim().replace(/ +/g, ' ') : '';
  }

  /** Reads the processes that are due; returns all known processes. */
  take(nowMs: number, order: TableOptions): Seen<ProcessState[]> {
    const names = this.#proc.list('/proc');
    if (!('value' in names)) return { missing: names.missing === 'gone' ? 'failed' : names.missing };
    this.#mark += 1;
    const pids = pidsOf(names.value);
    this.othersListed = pids.includes(1);
    this.#lookAtDue(this.#due(pids, nowMs, order), nowMs, order);
    const processes: ProcessState[] = [];
    for (const [pid, entry] of this.#entries) {
      if (entry.mark !== this.#mark) {
        this.#entries.delete(pid);
        continue;
      }
      if (entry.inert) continue;
      const { uid, parent, privileged, name, argv, executable, open } = entry;
      processes.push({
        pid,
        parent,
        uid,
        privileged,
        name,
        argv,
        executable,
        opened: open.memories,
        captures: open.sockets,
      });
    }
    return { value: processes };
  }

  /** Sets which processes are read in every scan from now on, replacing any set before. */
  watchClosely(pids: ReadonlySet<number>): void {
    for (const entry of this.#entries.values()) entry.hot = pids.has(entry.pid);
  }

  /** Returns the processes to read now: first those with findings, then those that have waited longest. */
  #due(
    pids: readonly number[],
    nowMs: number,
    order: TableOptions,
  ): { readonly pid: number; readonly since: number }[] {
    const due: { readonly pid: number; readonly since: number }[] = [];
    const waiting = new Map<number, number>();
    for (const pid of pids) {
      if (order.ownPids.has(pid)) continue;
      const entry = this.#entries.get(pid);
      if (entry === undefined) {
        const since = this.#waiting.get(pid) ?? nowMs;
        waiting.set(pid, since);
        due.push({ pid, since });
        continue;
      }
      entry.mark = this.#mark;
      // The parent of an apparent child of the server may be an ended process with the same pid: read the child again.
      if (entry.hot || order.ownPids.has(entry.parent)) due.push({ pid, since: -Infinity });
      else if (order.everything || nowMs >= entry.nextLook || nowMs - entry.firstSeen < youngMs)
        due.push({ pid, since: Math.min(nowMs, entry.nextLook) });
    }
    this.#waiting = waiting;
    return due.sort((a, b) => a.since - b.since);
  }

  #lookAtDue(
    due: readonly { readonly pid: number; readonly since: number }[],
    nowMs: number,
    order: TableOptions,
  ): void {
    const budget = this.#scans === 0 ? firstBudgetMs : Math.max(10, order.intervalMs * budgetPart);
    const until = this.#clock() + budget;
    const look: Look = { ...order, mostMs: budget / onePart };
    this.#scans += 1;
    for (const [done, { pid, since }] of due.entries()) {
      if (since > -Infinity && this.#clock() > until) {
        this.overdue = { processes: due.length - done, oldestMs: Math.max(0, nowMs - since) };
        return;
      }
      const entry = this.#entries.get(pid);
      if (entry === undefined) this.#enter(pid, nowMs, look);
      else this.#look(entry, nowMs, look);
    }
    this.overdue = { processes: 0, oldestMs: 0 };
  }

  #enter(pid: number, nowMs: number, order: Look): void {
    const text = this.#proc.readHead(`/proc/${pid}/stat`);
    const stat = 'value' in text ? parseStat(text.value) : undefined;
    if (stat === undefined) return; // it ended after it was listed
    this.#waiting.delete(pid);
    const entry: Entry = {
      pid,
      started: stat.started,
      firstSeen: nowMs,
      inert: false,
      folder: `/proc/${pid}`,
      name: stat.name,
      parent: stat.parent,
      threads: stat.threads,
      uid: -1,
      privileged: false,
      argv: [],
      executable: '',
      open: new OpenFiles(this.#proc, this.#memory),
      nextLook: 0,
      nextWhole: 0,
      hot: false,
      mark: this.#mark,
    };
    this.#entries.set(pid, entry);
    this.#look(entry, nowMs, order);
  }

  #look(entry: Entry, nowMs: number, order: Look): void {
    // Stagger the times by pid, so that no single scan has to read all processes.
    const turn = nowMs - entry.firstSeen > settledMs ? settledTurnMs : turnMs;
    entry.nextLook = order.intervalMs >= turn ? nowMs : nowMs + turn - ((nowMs + entry.pid * 37) % turn);
    const text = this.#proc.readHead(`/proc/${entry.pid}/stat`);
    const stat = 'value' in text ? parseStat(text.value) : undefined;
    if (stat === undefined) return;
    if (stat.started !== entry.started) {
      // Another process now has this pid.
      this.#entries.delete(entry.pid);
      this.#enter(entry.pid, nowMs, order);
      return;
    }
    entry.inert = stat.kernel || (stat.state === 'Z' && stat.threads <= 1) || stat.state === 'X';
    if (entry.inert) {
      entry.nextLook = nowMs + wholeMs; // nothing can change except that its pid is reused
      return;
    }
    if (stat.state === 'Z') entry.folder = this.#livingThread(entry.pid);
    const renamed = stat.name !== entry.name;
    entry.parent = stat.parent;
    entry.name = stat.name;
    entry.threads = stat.threads;
    const whole = renamed || entry.hot || nowMs >= entry.nextWhole || nowMs - entry.firstSeen < youngMs;
    if (whole) {
      entry.nextWhole = nowMs + wholeMs - ((entry.pid * 37) % (wholeMs / 2));
      this.#readWhole(entry);
    }
    const until = this.#clock() + order.mostMs;
    entry.open.read({
      ...entry,
      ownPids: order.ownPids,
      whole: whole || order.everything,
      over: () => this.#clock() > until,
    });
    // It is read again in the next scan, after the processes that are already waiting.
    if (entry.open.unfinished) entry.nextLook = nowMs;
  }

  /** Returns the folder of a thread that is still running after the first thread of the process has ended. */
  #livingThread(pid: number): string {
    const tasks = this.#proc.list(`/proc/${pid}/task`);
    const thread = 'value' in tasks ? tasks.value.find((tid) => tid !== String(pid)) : undefined;
    return thread === undefined ? `/proc/${pid}` : `/proc/${pid}/task/${thread}`;
  }

  #readWhole(entry: Entry): void {
    const status = this.#proc.readHead(`${entry.folder}/status`);
    const parsed = 'value' in status ? parseStatus(status.value) : undefined;
    if (parsed !== undefined) {
      const [real = -1, effective, saved] = parsed.uids;
      entry.uid = real;
      // Any user can start a set-user-ID program under any name, so what counts is the user who started it (L6-10).
      entry.privileged =
        real === 0 ||
        (real === effective &&
          real === saved &&
          (parsed.effectiveCapabilities & capSysPtrace) !== 0n &&
          this.#sameUserNamespace(entry.folder));
      entry.open.slots = parsed.slots;
    }
    const executable = this.#proc.link(`${entry.folder}/exe`);
    entry.executable = 'value' in executable ? executable.value : '';
    // The arguments of another user's process prove nothing. They are in its own memory, so it can delay the reader.
    const command =
      entry.privileged || entry.uid === this.#ownUid ? this.#proc.readHead(`${entry.folder}/cmdline`) : { value: '' };
    if ('value' in command)
      entry.argv = command.value
        .split('\0', mostWords)
        .filter((word, index, all) => word !== '' || index < all.length - 1);
  }

  /** Returns whether a process is in the same user namespace; capabilities in another one have no effect here. */
  #sameUserNamespace(folder: string): boolean {
    const map = this.#proc.readHead(`${folder}/uid_map`);
    return 'value' in map && map.value.trim().replace(/ +/g, ' ') === this.#ownUserMap;
  }
}
