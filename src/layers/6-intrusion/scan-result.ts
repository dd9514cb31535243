/**
 * The result of one scan, as plain data for the detectors.
 *
 * Promise: for a value that could not be read, the result holds the reason, which is never mistaken for a clean value.
 * @module
 */
import type { PacketTap, SocketRow } from '../../linux/procfs/net-tables.ts';
import type { Mapping } from '../../linux/procfs/maps.ts';
import type { TaskStatus } from '../../linux/procfs/task-status.ts';

/** Roles of the processes that are watched. @internal */
export type WatchedRole = 'supervisor' | 'gateway' | 'engine' | 'watchdog';

/** One of the server's processes, as the supervisor declared it. */
export type Target = {
  readonly role: WatchedRole;
  readonly pid: number;
  /** Whether its final seccomp filter must be in force by now. */
  readonly sealed: boolean;
  /** `own`: its own, empty network namespace; `shared`: the supervisor's namespace. */
  readonly namespace: 'own' | 'shared';
  /** Inodes of the sockets that the process had when it started. */
  readonly sockets: readonly number[];
  /** Inodes of its sockets as the role itself reports them, for use where no other process may read them. */
  readonly reported?: readonly number[] | undefined;
};

/** The server's processes and resources, as declared by the supervisor. */
export type Watched = {
  readonly targets: readonly Target[];
  /** The server's port on 127.0.0.1. */
  readonly port: number;
  /** Inode of the listening socket. */
  readonly listener: number;
  /**
   * Processes whose network namespaces contain the server's sockets and would contain captures of its traffic: the
   * supervisor, and also process 1 if a service has an empty network and its listener is in the machine's network.
   */
  readonly networks: readonly number[];
  /** Path of the additional Unix socket; empty if there is none. */
  readonly unixPath: string;
  /** Folders and files that may be mapped as code; empty if they are unknown. */
  readonly code: readonly string[];
  /** Immutable memory that may be mapped as code, as `device:inode`, since any process can choose a memfd's name. */
  readonly memory: readonly string[];
};

/**
 * A value, or the reason why there is none. `denied`: the kernel refused; `gone`: the process has ended; `not-due`: the
 * value was not due to be read in this scan.
 */
export type Seen<T> = { readonly value: T } | { readonly missing: 'denied' | 'gone' | 'failed' | 'not-due' };

/** One thread of a watched process. */
export type ThreadState = { readonly tid: number; readonly state: string; readonly tracer: number };

/** One watched process in this scan. */
export type TargetState = {
  readonly target: Target;
  readonly status: Seen<TaskStatus>;
  readonly threads: Seen<readonly ThreadState[]>;
  /** Inodes of the sockets for which it holds descriptors. */
  readonly sockets: Seen<readonly number[]>;
  /** Number of sockets in its own network namespace; `not-due` if it shares the supervisor's. */
  readonly namespaceSockets: Seen<number>;
  /** Rows of these sockets in the kernel's tables, which are read only if there are any sockets. */
  readonly namespaceRows: readonly SocketRow[];
  readonly mappings: Seen<readonly Mapping[]>;
  /** Whether its cgroup is frozen. */
  readonly frozen: Seen<boolean>;
};

/** Another process of the machine. */
export type ProcessState = {
  readonly pid: number;
  readonly parent: number;
  /** Its real user id; a set-user-ID program belongs to the user who started it. */
  readonly uid: number;
  /**
   * Whether it may inspect other users' processes: it is root's, or has CAP_SYS_PTRACE outside its own user namespace.
   */
  readonly privileged: boolean;
  /** The kernel's name for it (`comm`), at most 15 bytes. */
  readonly name: string;
  readonly argv: readonly string[];
  /** Path of its executable; empty if it is hidden from this user. */
  readonly executable: string;
  /**
   * Pids of the server's processes whose memory it has open, determined by kernel data and not by a path; `missing` if
   * its descriptors are hidden from this user.
   */
  readonly opened: Seen<readonly number[]>;
  /** Inodes of the packet sockets that it holds; read only to find the owner of one. */
  readonly captures: readonly number[];
};

/** Number of processes that a scan had no time to read, and how long the first of them has been waiting. */
export type Overdue = { readonly processes: number; readonly oldestMs: number };

/**
 * Clocks in milliseconds. `monotonic` stops while the machine sleeps; `boot` does not. `runnable` is the time for which
 * the process itself ran or waited for a CPU.
 */
export type Clocks = { readonly monotonic: number; readonly boot: number; readonly runnable: number };

/** One scan. */
export type Snapshot = {
  readonly clocks: Clocks;
  /** The clocks of the previous scan; `undefined` in the first scan. */
  readonly before: Clocks | undefined;
  readonly intervalMs: number;
  readonly watched: Watched;
  readonly targets: readonly TargetState[];
  readonly processes: Seen<readonly ProcessState[]>;
  /** Whether other users' processes are listed; `hidepid` would hide them. */
  readonly othersListed: boolean;
  readonly overdue: Overdue;
  /** The supervisor's user id. */
  readonly ownUid: number;
  /** Rows of the watched processes' sockets, and of every packet and raw socket. */
  readonly rows: Seen<readonly SocketRow[]>;
  /** Whether the tables with the watched processes' sockets could be read. Captures are listed in other tables. */
  readonly tablesRead: boolean;
  /** Receivers of copies of packets in the server's network namespaces. */
  readonly taps: Seen<readonly PacketTap[]>;
  /**
   * Files that watched processes had mapped in an earlier scan, when the files were at a declared path. They are
   * identified by device and inode, as in `maps`.
   */
  readonly knownCode: ReadonlySet<string>;
  /** Whether the kernel could be asked about Unix sockets. Their table is not read: it has text from other users. */
  readonly unixKnown: boolean;
};

/** Returns the value, or `undefined`. */
export function seen<T>(what: Seen<T>): T | undefined {
  return 'value' in what ? what.value : undefined;
}
