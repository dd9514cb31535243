/**
 * Reads the watched processes in one scan: threads, descriptors, network namespace, code, cgroup.
 *
 * Source: proc(5), cgroups(7)
 * Proof:  test/unit/watchdog/process-table.test.ts, test/attacks/6-frozen.test.ts
 * @module
 */
import type { Seen, Target, TargetState, ThreadState } from '../layers/6-intrusion/scan-result.ts';
import { seen } from '../layers/6-intrusion/scan-result.ts';
import type { ProcReader, ProcResult } from '../linux/procfs/proc-reader.ts';
import { fromShown } from '../linux/procfs/escaped-path.ts';
import type { SocketRow, SocketTable } from '../linux/procfs/net-tables.ts';
import { parseSocketCount, parseSockets, socketTables } from '../linux/procfs/net-tables.ts';
import type { Mapping } from '../linux/procfs/maps.ts';
import type { TaskStatus } from '../linux/procfs/task-status.ts';
import { socketInode } from '../linux/procfs/descriptors.ts';
import { codeMappings } from '../linux/procfs/maps.ts';
import { parseStatus, parseThread } from '../linux/procfs/task-status.ts';

function mapped<A, B>(look: ProcResult<A>, parse: (value: A) => B | undefined): Seen<B> {
  if (!('value' in look)) return look;
  const value = parse(look.value);
  return value === undefined ? { missing: 'failed' } : { value };
}

/** Returns the state of every thread, except those that end in the meantime. */
function threadsOf(proc: ProcReader, pid: number): Seen<ThreadState[]> {
  const names = proc.list(`/proc/${pid}/task`);
  if (!('value' in names)) return names;
  const threads: ThreadState[] = [];
  for (const name of names.value) {
    const text = proc.read(`/proc/${pid}/task/${name}/status`);
    if (!('value' in text)) {
      if (text.missing === 'gone') continue;
      return text;
    }
    const thread = parseThread(text.value);
    if (thread !== undefined) threads.push({ tid: Number(name), ...thread });
  }
  return { value: threads };
}

/** Returns the inodes of the sockets that a process holds, except those closed in the meantime. */
export function socketsOf(proc: ProcReader, pid: number): Seen<number[]> {
  const names = proc.list(`/proc/${pid}/fd`);
  if (!('value' in names)) return names;
  const inodes: number[] = [];
  for (const name of names.value) {
    const link = proc.link(`/proc/${pid}/fd/${name}`);
    if (!('value' in link)) {
      if (link.missing === 'gone') continue;
      return link;
    }
    const inode = socketInode(link.value);
    if (inode !== undefined) inodes.push(inode);
  }
  return { value: inodes };
}

/** Returns which of a process's given sockets are TCP, according to the kernel's name for each socket's protocol. */
export function tcpAmong(
  proc: ProcReader,
  pid: number,
  inodes: ReadonlySet<number>,
  protocolName: (path: string) => string | undefined,
): number[] {
  const names = proc.list(`/proc/${pid}/fd`);
  const found: number[] = [];
  for (const name of 'value' in names ? names.value : []) {
    const path = `/proc/${pid}/fd/${name}`;
    const inode = (): number | undefined => {
      const link = proc.link(path);
      return 'value' in link ? socketInode(link.value) : undefined;
    };
    const before = inode();
    // Read again afterwards, because another socket may have replaced it.
    if (before !== undefined && inodes.has(before) && protocolName(path) === 'TCP' && inode() === before)
      found.push(before);
  }
  return found;
}

const sameMs = 1000;

/**
 * Caches the sockets of watched processes between scans. A process's descriptors are read again if their number
 * changed, and otherwise once a second, so a socket that replaces another is seen within a second.
 */
export class SocketCache {
  readonly #proc: ProcReader;
  readonly #last = new Map<number, { readonly count: number; readonly at: number; readonly sockets: Seen<number[]> }>();

  constructor(proc: ProcReader) {
    this.#proc = proc;
  }

  /** Returns the inodes of the sockets that a process holds. */
  of(pid: number, nowMs: number): Seen<number[]> {
    const counted = this.#proc.count(`/proc/${pid}/fd`);
    const count = 'value' in counted ? counted.value : 0;
    const last = this.#last.get(pid);
    // The count is 0 before Linux 6.2, which does not report it.
    if (last !== undefined && count > 0 && count === last.count && nowMs - last.at < sameMs) return last.sockets;
    const sockets = socketsOf(this.#proc, pid);
    this.#last.set(pid, { count, at: nowMs, sockets });
    return sockets;
  }

  /** Removes all processes except these. */
  keep(pids: ReadonlySet<number>): void {
    for (const pid of this.#last.keys()) if (!pids.has(pid)) this.#last.delete(pid);
  }
}

/** Reads the tables of a process's network namespace, except those that the kernel does not have. */
export function tablesOf(
  proc: ProcReader,
  pid: number,
  tables: readonly SocketTable[] = socketTables,
): Seen<SocketRow[]> {
  const rows: SocketRow[] = [];
  let any = false;
  for (const table of tables) {
    const text = proc.read(`/proc/${pid}/net/${table}`);
    if (!('value' in text)) {
      if (text.missing === 'gone') continue;
      return text;
    }
    any = true;
    rows.push(...parseSockets(table, text.value));
  }
  return any ? { value: rows } : { missing: 'gone' };
}

/** Returns whether the cgroup of a process is frozen, for cgroup v1 and v2. */
function frozenOf(proc: ProcReader, pid: number): Seen<boolean> {
  const groups = proc.read(`/proc/${pid}/cgroup`);
  if (!('value' in groups)) return groups;
  for (const line of groups.value.split('\n')) {
    const match = /^(\d+):([^:]*):(\/.*)$/.exec(line);
    if (match === null) continue;
    const [, id, controllers = '', shown = ''] = match;
    const path = fromShown(shown);
    if (path === '/') continue; // the root cgroup cannot be frozen
    if (id === '0') {
      for (const mount of ['/sys/fs/cgroup', '/sys/fs/cgroup/unified']) {
        const events = proc.read(`${mount}${path}/cgroup.events`);
        if ('value' in events) return { value: /^frozen 1$/m.test(events.value) };
      }
    } else if (controllers.split(',').includes('freezer')) {
      const state = proc.read(`/sys/fs/cgroup/freezer${path}/freezer.state`);
      if ('value' in state && state.value.trim() !== 'THAWED') return { value: true };
    }
  }
  return { value: false };
}

/** Reads the files mapped as code. Every program has some, so an empty list means that it is hidden or has ended. */
function mappingsOf(proc: ProcReader, pid: number, status: Seen<TaskStatus>): Seen<Mapping[]> {
  const found = mapped<string, Mapping[]>(proc.readLong(`/proc/${pid}/maps`), codeMappings);
  if (!('value' in found) || found.value.length > 0) return found;
  const state = seen(status)?.state;
  return { missing: state === undefined || state === 'Z' || state === 'X' ? 'gone' : 'denied' };
}

/** Reads the state of one watched process, as far as it is visible. */
export function inspectTarget(
  proc: ProcReader,
  target: Target,
  sockets: Seen<number[]>,
  withMappings: boolean,
): TargetState {
  const { pid } = target;
  // The kernel keeps this count per namespace. Reading `tcp`, even if it is empty, walks the whole machine's table.
  const own: Seen<number> =
    target.namespace === 'own'
      ? mapped(proc.read(`/proc/${pid}/net/sockstat`), parseSocketCount)
      : { missing: 'not-due' };
  const status = mapped<string, TaskStatus>(proc.read(`/proc/${pid}/status`), parseStatus);
  const rows = (seen(own) ?? 0) > 0 ? seen(tablesOf(proc, pid)) : undefined;
  return {
    target,
    status,
    threads: threadsOf(proc, pid),
    sockets,
    namespaceSockets: own,
    namespaceRows: rows ?? [],
    mappings: withMappings ? mappingsOf(proc, pid, status) : { missing: 'not-due' },
    frozen: frozenOf(proc, pid),
  };
}
