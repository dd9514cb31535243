/**
 * What one scan read, as plain data, from which the detectors judge.
 *
 * Promise: a value that could not be read says why; it is never taken for a clean one.
 * @module
 */
import type { PacketTap, SocketRow } from '../../linux/procfs/net-tables.ts';
import type { Mapping } from '../../linux/procfs/maps.ts';
import type { TaskStatus } from '../../linux/procfs/task-status.ts';

/** Roles of the processes that are watched. @internal */
export type WatchedRole = 'supervisor' | 'gateway' | 'engine' | 'watchdog';

/** One process of the server, as the supervisor declared it. */
export type Target = {
  readonly role: WatchedRole;
  readonly pid: number;
  /** Whether its final seccomp filter must be in force by now. */
  readonly sealed: boolean;
  /** `own`: an empty network namespace of its own; `shared`: the one of the supervisor. */
  readonly namespace: 'own' | 'shared';
  /** Inodes of the sockets that it was started with. */
  readonly sockets: readonly number[];
  /** Sockets that the role itself reports, where no other process may look. */
  readonly reported?: readonly number[] | undefined;
};

/** What the supervisor declared about the server. */
export type Watched = {
  readonly targets: readonly Target[];
  /** Port of the server on 127.0.0.1. */
  readonly port: number;
  /** Inode of its listening socket. */
  readonly listener: number;
  /**
   * Processes in whose network namespaces the sockets of the server are, and captures of its traffic would be: the
   * supervisor, and process 1 for a service with an empty network and a listener in the machine's.
   */
  readonly networks: readonly number[];
  /** Path of the additional Unix socket; empty for none. */
  readonly unixPath: string;
  /** Folders and files that may be mapped as code; empty when they are unknown. */
  readonly code: readonly string[];
  /** Immutable memory that may be mapped as code, as `device:inode`: any process can choose its name. */
  readonly memory: readonly string[];
};

/** A value, or why there is none: the kernel refused, the process has ended, or it was not due in this scan. */
export type Seen<T> = { readonly value: T } | { readonly missing: 'denied' | 'gone' | 'failed' | 'not-due' };

/** One thread of a watched process. */
export type ThreadState = { readonly tid: number; readonly state: string; readonly tracer: number };

/** One watched process in this scan. */
export type TargetState = {
  readonly target: Target;
  readonly status: Seen<TaskStatus>;
  readonly threads: Seen<readonly ThreadState[]>;
  /** Inodes of the sockets that it holds descriptors of. */
  readonly sockets: Seen<readonly number[]>;
  /** How many sockets its own network namespace has; `not-due` if it shares the supervisor's. */
  readonly namespaceSockets: Seen<number>;
  /** Those of them that a table lists; read only if there are any. */
  readonly namespaceRows: readonly SocketRow[];
  readonly mappings: Seen<readonly Mapping[]>;
  /** Whether its cgroup is frozen. */
  readonly frozen: Seen<boolean>;
};

/** Another process of the machine. */
export type ProcessState = {
  readonly pid: number;
  readonly parent: number;
  /** Its real user: a set-user-ID program belongs to the user who started it. */
  readonly uid: number;
  /**
   * Whether it may inspect processes of other users (root, or CAP_SYS_PTRACE outside a user namespace of its own).
   */
  readonly privileged: boolean;
  /** The kernel's name of it (`comm`), at most 15 bytes. */
  readonly name: string;
  readonly argv: readonly string[];
  /** Path of its executable; empty if it is hidden from this user. */
  readonly executable: string;
  /**
   * Pids of the server whose memory it has open, known from the kernel and not from a path; `missing` if its
   * descriptors are hidden from this user.
   */
  readonly opened: Seen<readonly number[]>;
  /** Inodes of packet sockets that it holds; read only to find the owner of one. */
  readonly captures: readonly number[];
};

/** How many processes a scan had no time for, and for how long the first of them has waited. */
export type Overdue = { readonly processes: number; readonly oldestMs: number };

/**
 * Clocks in milliseconds: `monotonic` stops while the machine sleeps, `boot` does not; `runnable`: how long the process
 * itself ran or waited for a CPU.
 */
export type Clocks = { readonly monotonic: number; readonly boot: number; readonly runnable: number };

/** One scan. */
export type Snapshot = {
  readonly clocks: Clocks;
  /** The clocks of the scan before; `undefined` for the first. */
  readonly before: Clocks | undefined;
  readonly intervalMs: number;
  readonly watched: Watched;
  readonly targets: readonly TargetState[];
  readonly processes: Seen<readonly ProcessState[]>;
  /** Whether processes of other users are listed (`hidepid` hides them). */
  readonly othersListed: boolean;
  readonly overdue: Overdue;
  /** The user of the supervisor. */
  readonly ownUid: number;
  /** Sockets of watched processes, and every packet and raw socket. */
  readonly rows: Seen<readonly SocketRow[]>;
  /** Whether the tables that list the sockets of watched processes could be read; captures have other tables. */
  readonly tablesRead: boolean;
  /** What receives copies of packets in the network namespaces of the server. */
  readonly taps: Seen<readonly PacketTap[]>;
  /**
   * Files (device and inode as `maps` shows them) that watched processes mapped in an earlier scan, when the files were
   * at a declared path.
   */
  readonly knownCode: ReadonlySet<string>;
  /** Whether the kernel could be asked about Unix sockets; their table contains text of other users and is not read. */
  readonly unixKnown: boolean;
};

/** Returns the value, or `undefined`. */
export function seen<T>(what: Seen<T>): T | undefined {
  return 'value' in what ? what.value : undefined;
}
