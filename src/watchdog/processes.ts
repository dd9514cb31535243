/**
 * The processes of the machine between scans: what seldom changes is read seldom, what is new or odd in every scan.
 *
 * A process younger than a few seconds is read whole each time, since it may be about to become another program. Older
 * ones are looked at in turn, each at least once in five seconds (in ten once it has run for a minute), and read whole
 * when their name changed or once in two minutes. What was found is looked at in every scan. Descriptors are counted in that turn and followed when their number changed.
 * A process that ended and only waits for its parent can do nothing and is left out; one whose first thread ended goes on in the
 * others, and is read through one of them.
 *
 * Limits:  a descriptor that takes the place of another between two looks is seen within two minutes, and so is a process that
 *          gets the pid of an ended one between two scans.
 * Proof:   test/unit/watchdog/processes.test.ts, test/bench/isolation.ts
 * @module
 */
import type { ProcessState, Seen } from '../layers/6-intrusion/snapshot.ts';
import type { Eyes } from '../linux/proc.ts';
import { memoryOwner, parseStat, parseStatus, socketInode } from '../linux/tasks.ts';

export const turnMs = 5000;
const youngMs = 3000;
/** What has run unchanged for this long is looked at half as often. */
const settledMs = 60_000;
const settledTurnMs = 10_000;
const wholeMs = 120_000;
const capSysPtrace = 1n << 19n;
const noDescriptors: Seen<readonly number[]> = { value: [] };

type Entry = {
  readonly pid: number;
  readonly started: number;
  readonly firstSeen: number;
  /** A thread of the kernel, or ended and not collected yet: it has no program, no memory and no descriptors. */
  inert: boolean;
  /** Its folder in /proc, or that of a living thread of it. */
  folder: string;
  name: string;
  parent: number;
  uid: number;
  privileged: boolean;
  argv: readonly string[];
  executable: string;
  /** How many descriptors it had when they were followed last, and what they opened. */
  count: number;
  memories: Seen<readonly number[]>;
  sockets: readonly number[];
  nextLook: number;
  nextWhole: number;
  hot: boolean;
  mark: number;
};

/** Whether every number is a pid; `/proc` holds other names too. */
function pidsOf(names: readonly string[]): number[] {
  const pids: number[] = [];
  for (const name of names) {
    const first = name.charCodeAt(0);
    if (first >= 48 && first <= 57) pids.push(Number(name));
  }
  return pids;
}

export class Census {
  readonly #eyes: Eyes;
  readonly #entries = new Map<number, Entry>();
  readonly #ownUserMap: string;
  #mark = 0;
  /** Whether process 1 is listed, which hidepid would hide. */
  othersListed = true;

  constructor(eyes: Eyes) {
    this.#eyes = eyes;
    const map = eyes.read('/proc/self/uid_map');
    this.#ownUserMap = 'value' in map ? map.value.trim().replace(/ +/g, ' ') : '';
  }

  /**
   * Looks at what is due.
   * @param ours - pids and thread ids of our own processes, which are left out.
   * @param everything - follow every descriptor now: a socket has to be explained.
   */
  take(nowMs: number, intervalMs: number, ours: ReadonlySet<number>, everything: boolean): Seen<ProcessState[]> {
    const names = this.#eyes.list('/proc');
    if (!('value' in names)) return { missing: names.missing === 'gone' ? 'failed' : names.missing };
    this.#mark += 1;
    const pids = pidsOf(names.value);
    this.othersListed = pids.includes(1);
    for (const pid of pids) {
      if (ours.has(pid)) continue;
      const entry = this.#entries.get(pid);
      if (entry === undefined) {
        this.#enter(pid, nowMs, intervalMs, ours, everything);
      } else {
        entry.mark = this.#mark;
        if (everything || entry.hot || nowMs >= entry.nextLook || nowMs - entry.firstSeen < youngMs) this.#look(entry, nowMs, intervalMs, ours, everything);
      }
    }
    const processes: ProcessState[] = [];
    for (const [pid, entry] of this.#entries) {
      if (entry.mark !== this.#mark) {
        this.#entries.delete(pid);
        continue;
      }
      if (entry.inert) continue;
      processes.push({ pid, parent: entry.parent, uid: entry.uid, privileged: entry.privileged, name: entry.name, argv: entry.argv, executable: entry.executable, opened: entry.memories, captures: entry.sockets });
    }
    return { value: processes };
  }

  /** Reads these in every scan from now on, until told otherwise. */
  watchClosely(pids: ReadonlySet<number>): void {
    for (const entry of this.#entries.values()) entry.hot = pids.has(entry.pid);
  }

  #enter(pid: number, nowMs: number, intervalMs: number, ours: ReadonlySet<number>, everything: boolean): void {
    const text = this.#eyes.read(`/proc/${pid}/stat`);
    const stat = 'value' in text ? parseStat(text.value) : undefined;
    if (stat === undefined) return; // it ended between the listing and the reading
    const entry: Entry = {
      pid,
      started: stat.started,
      firstSeen: nowMs,
      inert: false,
      folder: `/proc/${pid}`,
      name: stat.name,
      parent: stat.parent,
      uid: -1,
      privileged: false,
      argv: [],
      executable: '',
      count: 0,
      memories: noDescriptors,
      sockets: [],
      nextLook: 0,
      nextWhole: 0,
      hot: false,
      mark: this.#mark,
    };
    this.#entries.set(pid, entry);
    this.#look(entry, nowMs, intervalMs, ours, everything);
  }

  #look(entry: Entry, nowMs: number, intervalMs: number, ours: ReadonlySet<number>, everything: boolean): void {
    // Each pid has its own moment in the turn, so that no scan has to look at all of them.
    const turn = nowMs - entry.firstSeen > settledMs ? settledTurnMs : turnMs;
    entry.nextLook = intervalMs >= turn ? 0 : nowMs + turn - ((nowMs + entry.pid * 37) % turn);
    const text = this.#eyes.read(`/proc/${entry.pid}/stat`);
    const stat = 'value' in text ? parseStat(text.value) : undefined;
    if (stat === undefined) return;
    if (stat.started !== entry.started) {
      // The pid was given to another process since.
      this.#entries.delete(entry.pid);
      this.#enter(entry.pid, nowMs, intervalMs, ours, everything);
      return;
    }
    entry.inert = stat.kernel || (stat.state === 'Z' && stat.threads <= 1) || stat.state === 'X';
    if (entry.inert) {
      entry.nextLook = nowMs + wholeMs; // it comes to nothing; only its pid may be given away
      return;
    }
    if (stat.state === 'Z') entry.folder = this.#livingThread(entry.pid);
    const renamed = stat.name !== entry.name;
    entry.parent = stat.parent;
    entry.name = stat.name;
    const whole = renamed || entry.hot || nowMs >= entry.nextWhole || nowMs - entry.firstSeen < youngMs;
    if (whole) {
      entry.nextWhole = nowMs + wholeMs - ((entry.pid * 37) % (wholeMs / 2));
      this.#readWhole(entry);
    }
    this.#readDescriptors(entry, whole || everything, ours);
  }

  /** The folder of a thread that goes on after the first one of its process ended. */
  #livingThread(pid: number): string {
    const tasks = this.#eyes.list(`/proc/${pid}/task`);
    const thread = 'value' in tasks ? tasks.value.find((tid) => tid !== String(pid)) : undefined;
    return thread === undefined ? `/proc/${pid}` : `/proc/${pid}/task/${thread}`;
  }

  #readWhole(entry: Entry): void {
    const status = this.#eyes.read(`${entry.folder}/status`);
    const parsed = 'value' in status ? parseStatus(status.value) : undefined;
    if (parsed !== undefined) {
      const [real = -1, effective, saved] = parsed.uids;
      entry.uid = real;
      // Anybody can start a set-user-ID program under a name of their choice: it is judged by who started it (L6-10).
      entry.privileged = real === 0 || (real === effective && real === saved && (parsed.effectiveCapabilities & capSysPtrace) !== 0n && this.#sameUserNamespace(entry.folder));
    }
    const command = this.#eyes.read(`${entry.folder}/cmdline`);
    if ('value' in command) entry.argv = command.value.slice(0, 4096).split('\0', 64).filter((word, index, all) => word !== '' || index < all.length - 1);
    const executable = this.#eyes.link(`${entry.folder}/exe`);
    entry.executable = 'value' in executable ? executable.value : '';
  }

  /** Full capabilities inside a user namespace of one's own are worth nothing outside it. */
  #sameUserNamespace(folder: string): boolean {
    const map = this.#eyes.read(`${folder}/uid_map`);
    return 'value' in map && map.value.trim().replace(/ +/g, ' ') === this.#ownUserMap;
  }

  #readDescriptors(entry: Entry, whole: boolean, ours: ReadonlySet<number>): void {
    if (!whole) {
      if (!('value' in entry.memories)) return; // hidden from us the last time; asked again when it is read whole
      const count = this.#eyes.count(`${entry.folder}/fd`);
      if ('value' in count && count.value > 0 && count.value === entry.count) return;
    }
    const names = this.#eyes.list(`${entry.folder}/fd`);
    if (!('value' in names)) {
      entry.memories = names.missing === 'gone' ? noDescriptors : { missing: names.missing };
      entry.sockets = [];
      entry.count = 0;
      return;
    }
    entry.count = names.value.length;
    const memories: number[] = [];
    const sockets: number[] = [];
    for (const name of names.value) {
      const link = this.#eyes.link(`${entry.folder}/fd/${name}`);
      if (!('value' in link)) continue;
      const owner = memoryOwner(link.value);
      if (owner !== undefined && ours.has(owner)) memories.push(owner);
      const inode = socketInode(link.value);
      if (inode !== undefined) sockets.push(inode);
    }
    entry.memories = memories.length === 0 ? noDescriptors : { value: memories };
    entry.sockets = sockets;
  }
}
