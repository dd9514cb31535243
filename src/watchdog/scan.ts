/**
 * Makes one scan of the machine, and returns it as plain data.
 *
 * Promise: opens nothing for writing, sends nothing, signals no process.
 * Proof:   test/unit/watchdog/process-table.test.ts, test/attacks/6-watchdog.test.ts
 * @module
 */
import { capturesLoopback } from '../layers/6-intrusion/detectors/packet-capture.ts';
import { isDeclaredCode, mappingKey } from '../layers/6-intrusion/detectors/code-mappings.ts';
import {
  deadConnection,
  socketsHeldBy,
  isServedConnection,
} from '../layers/6-intrusion/detectors/undeclared-sockets.ts';
import type { Clocks, Seen, Snapshot, TargetState, Watched } from '../layers/6-intrusion/scan-result.ts';
import { seen } from '../layers/6-intrusion/scan-result.ts';
import type { ProcReader } from '../linux/procfs/proc-reader.ts';
import type { UnixSocket } from '../linux/sockets/sock-diag.ts';
import type { PacketTap, SocketRow, SocketTable } from '../linux/procfs/net-tables.ts';
import { parseTaps } from '../linux/procfs/net-tables.ts';
import { MemoryDescriptors } from './memory-descriptors.ts';
import { ProcessTable, turnMs } from './process-table.ts';
import { SocketCache, inspectTarget, socketsOf, tablesOf, tcpAmong } from './own-processes.ts';

/** The sources that a scan reads. */
export type ScanSources = {
  readonly proc: ProcReader;
  readonly clocks: () => Clocks;
  /** Returns the time in milliseconds, to measure a scan. */
  readonly now: () => number;
  readonly pause: (ms: number) => Promise<void>;
  /** Asks the kernel about one Unix socket; `undefined` if there is no diagnostic socket. */
  readonly askUnix: ((inode: number) => UnixSocket | undefined) | undefined;
  /** Returns the kernel's name for the protocol of a socket, given the socket's path in `/proc/PID/fd`. */
  readonly protocolName: (path: string) => string | undefined;
};

/** Tables that are read in every scan; they show captures by any process. */
const everyScan: readonly SocketTable[] = ['packet', 'raw', 'raw6'];
/** Tables that are read to explain a descriptor of the server. */
const onDemand: readonly SocketTable[] = ['tcp6', 'udp', 'udp6', 'udplite', 'udplite6', 'icmp', 'icmp6', 'netlink'];
/** Maximum number of Unix sockets that the kernel is asked about in one scan. */
const mostAsked = 256;
const mappingsMs = 20_000;
/** Delays in milliseconds before a socket that no table lists is looked up again, because it may just be closing. */
const transientMs = [30, 60];

export class Scanner {
  readonly #sources: ScanSources;
  readonly #processes: ProcessTable;
  readonly #descriptors: SocketCache;
  readonly #ownUid: number;
  #before: Clocks | undefined;
  #mappingsDue = -Infinity;
  /** Processes whose maps were read, identified by their pid and whether they were confined. */
  #mapped = new Set<string>();
  /** Files mapped by a watched process that were at a declared path when the mapping was first seen. */
  #knownCode: ReadonlySet<string> = new Set();
  #explained = new Set<number>();
  /** Rows of the server's sockets. All are read again every `turnMs`, and sooner if a socket is missing. */
  readonly #lastRows = new Map<number, SocketRow>();
  #rowsDue = -Infinity;

  constructor(sources: ScanSources, ownUid: number) {
    this.#sources = sources;
    this.#ownUid = ownUid;
    this.#processes = new ProcessTable(sources.proc, new MemoryDescriptors(sources.proc), ownUid, sources.now);
    this.#descriptors = new SocketCache(sources.proc);
  }

  async take(watched: Watched, intervalMs: number): Promise<Snapshot> {
    const { proc } = this.#sources;
    const clocks = this.#sources.clocks();
    const before = this.#before;
    this.#before = clocks;
    // Maps are long and seldom change. Once an undeclared file has been seen, they are read in every scan.
    const shown = watched.targets.map(({ pid, sealed }) => `${pid} ${sealed}`);
    const withMappings =
      watched.code.length > 0 && (clocks.monotonic >= this.#mappingsDue || shown.some((one) => !this.#mapped.has(one)));
    this.#descriptors.keep(new Set(watched.targets.map(({ pid }) => pid)));
    let targets = watched.targets.map((target) =>
      inspectTarget(proc, target, this.#descriptors.of(target.pid, clocks.monotonic), withMappings),
    );
    const knownCode = this.#knownCode;
    if (withMappings) {
      this.#mapped = new Set(shown);
      const mappings = targets.flatMap((state) => seen(state.mappings) ?? []);
      const accepted = mappings.filter(
        (mapping) => isDeclaredCode(mapping, watched) || knownCode.has(mappingKey(mapping)),
      );
      // While a process has a file mapped, no other file can get its inode.
      this.#knownCode = new Set(accepted.map(mappingKey));
      const foreign = accepted.length < mappings.length;
      this.#mappingsDue = foreign ? clocks.monotonic : clocks.monotonic + mappingsMs;
    }
    const { rows: found, unexplained, tablesRead } = this.#rows(watched, targets, clocks.monotonic);
    for (const wait of unexplained.size > 0 ? transientMs : []) {
      // A connection that has just been closed is in no table, and one that the gateway refuses is closed at once. Any
      // other socket is still there after the wait.
      await this.#sources.pause(wait);
      targets = targets.map((state) => {
        const inodes = seen(state.sockets);
        if (inodes?.some((inode) => unexplained.has(inode)) !== true) return state;
        const again = seen(socketsOf(proc, state.target.pid));
        return again === undefined
          ? state
          : {
              ...state,
              sockets: { value: inodes.filter((inode) => !unexplained.has(inode) || again.includes(inode)) },
            };
      });
      if (!targets.some((state) => seen(state.sockets)?.some((inode) => unexplained.has(inode)))) break;
    }
    const rows =
      'value' in found && unexplained.size > 0
        ? { value: [...found.value, ...this.#dead(targets, unexplained)] }
        : found;
    const capturing = (seen(rows) ?? []).filter(capturesLoopback).map((row) => row.inode);
    const everything = capturing.some((inode) => !this.#explained.has(inode));
    this.#explained = new Set(capturing);
    const ownPids = new Set(
      targets.flatMap((state) => [state.target.pid, ...(seen(state.threads) ?? []).map((thread) => thread.tid)]),
    );
    const processes = this.#processes.take(clocks.monotonic, { intervalMs, ownPids, everything });
    const { othersListed, overdue } = this.#processes;
    return {
      clocks,
      before,
      intervalMs,
      watched,
      targets,
      processes,
      othersListed,
      overdue,
      ownUid: this.#ownUid,
      rows,
      tablesRead,
      taps: this.#taps(watched),
      unixKnown: this.#sources.askUnix !== undefined,
      knownCode,
    };
  }

  /** Sets which processes are read in every scan, until they have ended. */
  watchClosely(pids: ReadonlySet<number>): void {
    this.#processes.watchClosely(pids);
  }

  /** Returns rows of the watched network namespaces; the watchdog's own `/proc/net` shows only its empty namespace. */
  #tables({ networks }: Watched, tables: readonly SocketTable[]): Seen<SocketRow[]> {
    const rows: SocketRow[] = [];
    for (const pid of networks) {
      const seenThere = tablesOf(this.#sources.proc, pid, tables);
      if (!('value' in seenThere)) return seenThere;
      rows.push(...seenThere.value);
    }
    return networks.length === 0 ? { missing: 'failed' } : { value: rows };
  }

  /** Asks about Unix sockets one by one, because their table may contain rows that another user wrote. */
  #askUnix(inodes: readonly number[]): void {
    const { askUnix } = this.#sources;
    if (askUnix === undefined) return;
    for (const inode of inodes) {
      const socket = askUnix(inode);
      if (socket !== undefined)
        this.#lastRows.set(inode, {
          table: 'unix',
          inode,
          uid: 0,
          state: socket.state,
          local: socket.name.replaceAll('\n', '\\012'),
          remote: '',
          protocol: 0,
          interface: 0,
        });
    }
  }

  /** Returns rows for TCP sockets of the gateway that no table lists. */
  #dead(targets: readonly TargetState[], unexplained: ReadonlySet<number>): SocketRow[] {
    const unknown = new Set([...unexplained].filter((inode) => !this.#lastRows.has(inode)));
    const gateways = unknown.size === 0 ? [] : targets.filter(({ target }) => target.role === 'gateway');
    return gateways
      .flatMap(({ target }) => tcpAmong(this.#sources.proc, target.pid, unknown, this.#sources.protocolName))
      .map(deadConnection);
  }

  /** Returns the receivers of packets in the watched network namespaces. */
  #taps(watched: Watched): Seen<PacketTap[]> {
    const taps: PacketTap[] = [];
    for (const pid of watched.networks) {
      const text = this.#sources.proc.readLong(`/proc/${pid}/net/ptype`);
      if (!('value' in text)) return { missing: text.missing };
      taps.push(...parseTaps(text.value));
    }
    return watched.networks.length === 0 ? { missing: 'failed' } : { value: taps };
  }

  /** Returns the relevant rows, and the sockets of the server that no row accounts for. */
  #rows(
    watched: Watched,
    targets: readonly TargetState[],
    nowMs: number,
  ): { readonly rows: Seen<SocketRow[]>; readonly unexplained: ReadonlySet<number>; readonly tablesRead: boolean } {
    const always = this.#tables(watched, everyScan);
    if (!('value' in always)) return { rows: always, unexplained: new Set(), tablesRead: false };
    const held = new Set<number>();
    const undeclared = new Set<number>();
    for (const state of targets) {
      const declared = new Set(state.target.sockets);
      for (const inode of socketsHeldBy(state)?.inodes ?? []) {
        held.add(inode);
        if (!declared.has(inode)) undeclared.add(inode);
      }
    }
    for (const inode of this.#lastRows.keys()) if (!held.has(inode)) this.#lastRows.delete(inode);
    const due = nowMs >= this.#rowsDue;
    const isNew = () => [...undeclared].some((inode) => !this.#lastRows.has(inode));
    if (held.size > 0 && (due || isNew())) {
      if (due) {
        this.#rowsDue = nowMs + turnMs - 1;
        this.#lastRows.clear();
      }
      // Nearly all sockets are in `tcp`: the listener and its connections. The other tables are read only for the rest.
      for (const tables of [['tcp'], onDemand] as const) {
        if (tables === onDemand && !isNew()) break;
        const more = this.#tables(watched, tables);
        if (!('value' in more))
          return {
            rows: { value: [...always.value, ...this.#lastRows.values()] },
            unexplained: new Set(),
            tablesRead: false,
          }; // captures are still detected
        for (const row of more.value) if (held.has(row.inode)) this.#lastRows.set(row.inode, row);
      }
    }
    this.#askUnix([...undeclared].filter((inode) => !this.#lastRows.has(inode)).slice(0, mostAsked));
    for (const inode of undeclared) {
      const row = this.#lastRows.get(inode);
      if (row !== undefined && isServedConnection(row, watched)) undeclared.delete(inode);
    }
    return {
      rows: { value: [...always.value, ...this.#lastRows.values()] },
      unexplained: undeclared,
      tablesRead: true,
    };
  }
}
