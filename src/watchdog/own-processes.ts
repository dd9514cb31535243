/**
 * Our own processes in one scan: threads, descriptors, network namespace, code, control group.
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

/** The state of every thread; a thread that ends meanwhile is left out. */
function threadsOf(eyes: ProcReader, pid: number): Seen<ThreadState[]> {
  const names = eyes.list(`/proc/${pid}/task`);
  if (!('value' in names)) return names;
  const threads: ThreadState[] = [];
  for (const name of names.value) {
    const text = eyes.read(`/proc/${pid}/task/${name}/status`);
    if (!('value' in text)) {
      if (text.missing === 'gone') continue;
      return text;
    }
    const thread = parseThread(text.value);
    if (thread !== undefined) threads.push({ tid: Number(name), ...thread });
  }
  return { value: threads };
}

/** Inodes of the sockets that a process holds; a descriptor that closes meanwhile is left out. */
export function socketsOf(eyes: ProcReader, pid: number): Seen<number[]> {
  const names = eyes.list(`/proc/${pid}/fd`);
  if (!('value' in names)) return names;
  const inodes: number[] = [];
  for (const name of names.value) {
    const link = eyes.link(`/proc/${pid}/fd/${name}`);
    if (!('value' in link)) {
      if (link.missing === 'gone') continue;
      return link;
    }
    const inode = socketInode(link.value);
    if (inode !== undefined) inodes.push(inode);
  }
  return { value: inodes };
}

/** Which of these sockets of a process are plain TCP, by the kernel's word about each. */
export function tcpAmong(
  eyes: ProcReader,
  pid: number,
  inodes: ReadonlySet<number>,
  protocolName: (path: string) => string | undefined,
): number[] {
  const names = eyes.list(`/proc/${pid}/fd`);
  const found: number[] = [];
  for (const name of 'value' in names ? names.value : []) {
    const path = `/proc/${pid}/fd/${name}`;
    const inode = (): number | undefined => {
      const link = eyes.link(path);
      return 'value' in link ? socketInode(link.value) : undefined;
    };
    const before = inode();
    // Asked again afterwards: another one may have taken its place.
    if (before !== undefined && inodes.has(before) && protocolName(path) === 'TCP' && inode() === before)
      found.push(before);
  }
  return found;
}

const sameMs = 1000;

/**
 * The sockets of our processes between scans: every descriptor is read again when their number changed, and once in a
 * second in any case. One that takes the place of another is seen within that second.
 */
export class SocketCache {
  readonly #eyes: ProcReader;
  readonly #last = new Map<number, { readonly count: number; readonly at: number; readonly sockets: Seen<number[]> }>();

  constructor(eyes: ProcReader) {
    this.#eyes = eyes;
  }

  /** Inodes of the sockets that a process holds. */
  of(pid: number, nowMs: number): Seen<number[]> {
    const counted = this.#eyes.count(`/proc/${pid}/fd`);
    const count = 'value' in counted ? counted.value : 0;
    const last = this.#last.get(pid);
    // A kernel that does not count says 0.
    if (last !== undefined && count > 0 && count === last.count && nowMs - last.at < sameMs) return last.sockets;
    const sockets = socketsOf(this.#eyes, pid);
    this.#last.set(pid, { count, at: nowMs, sockets });
    return sockets;
  }

  /** Forgets processes that are not ours any more. */
  keep(pids: ReadonlySet<number>): void {
    for (const pid of this.#last.keys()) if (!pids.has(pid)) this.#last.delete(pid);
  }
}

/** The tables of a process's network namespace; a table that the kernel does not have is left out. */
export function tablesOf(
  eyes: ProcReader,
  pid: number,
  tables: readonly SocketTable[] = socketTables,
): Seen<SocketRow[]> {
  const rows: SocketRow[] = [];
  let any = false;
  for (const table of tables) {
    const text = eyes.read(`/proc/${pid}/net/${table}`);
    if (!('value' in text)) {
      if (text.missing === 'gone') continue;
      return text;
    }
    any = true;
    rows.push(...parseSockets(table, text.value));
  }
  return any ? { value: rows } : { missing: 'gone' };
}

/** Whether the control group of a process is frozen; cgroup v2, and v1 where that is still in use. */
function frozenOf(eyes: ProcReader, pid: number): Seen<boolean> {
  const groups = eyes.read(`/proc/${pid}/cgroup`);
  if (!('value' in groups)) return groups;
  for (const line of groups.value.split('\n')) {
    const match = /^(\d+):([^:]*):(\/.*)$/.exec(line);
    if (match === null) continue;
    const [, id, controllers = '', shown = ''] = match;
    const path = fromShown(shown);
    if (path === '/') continue; // the root cannot be frozen
    if (id === '0') {
      for (const mount of ['/sys/fs/cgroup', '/sys/fs/cgroup/unified']) {
        const events = eyes.read(`${mount}${path}/cgroup.events`);
        if ('value' in events) return { value: /^frozen 1$/m.test(events.value) };
      }
    } else if (controllers.split(',').includes('freezer')) {
      const state = eyes.read(`/sys/fs/cgroup/freezer${path}/freezer.state`);
      if ('value' in state && state.value.trim() !== 'THAWED') return { value: true };
    }
  }
  return { value: false };
}

/** Files mapped as code. Every program has some: what reads as empty is hidden from us, or ended. */
function mappingsOf(eyes: ProcReader, pid: number, status: Seen<TaskStatus>): Seen<Mapping[]> {
  const found = mapped<string, Mapping[]>(eyes.readLong(`/proc/${pid}/maps`), codeMappings);
  if (!('value' in found) || found.value.length > 0) return found;
  const state = seen(status)?.state;
  return { missing: state === undefined || state === 'Z' || state === 'X' ? 'gone' : 'denied' };
}

/** One of our processes as far as it can be seen. */
export function inspectTarget(
  eyes: ProcReader,
  target: Target,
  sockets: Seen<number[]>,
  withMappings: boolean,
): TargetState {
  const { pid } = target;
  // The count is kept per namespace and costs nothing; reading even an empty `tcp` walks the machine's whole table.
  const own: Seen<number> =
    target.namespace === 'own'
      ? mapped(eyes.read(`/proc/${pid}/net/sockstat`), parseSocketCount)
      : { missing: 'not-due' };
  const status = mapped<string, TaskStatus>(eyes.read(`/proc/${pid}/status`), parseStatus);
  const rows = (seen(own) ?? 0) > 0 ? seen(tablesOf(eyes, pid)) : undefined;
  return {
    target,
    status,
    threads: threadsOf(eyes, pid),
    sockets,
    namespaceSockets: own,
    namespaceRows: rows ?? [],
    mappings: withMappings ? mappingsOf(eyes, pid, status) : { missing: 'not-due' },
    frozen: frozenOf(eyes, pid),
  };
}
