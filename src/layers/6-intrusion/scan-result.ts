/**
 * What one scan saw, as plain data: the only thing that detectors are given.
 *
 * Promise: what could not be read says so and why; an absent value is never taken for a clean one.
 * @module
 */
import type { PacketTap, SocketRow } from '../../linux/procfs/net-tables.ts';
import type { Mapping } from '../../linux/procfs/maps.ts';
import type { TaskStatus } from '../../linux/procfs/task-status.ts';

/** Processes that are watched. */
export type WatchedRole = 'supervisor' | 'gateway' | 'engine' | 'watchdog';

/** One of our processes, as the supervisor declared it. */
export type Target = {
  readonly role: WatchedRole;
  readonly pid: number;
  /** Whether its seccomp filter must be in force by now. */
  readonly sealed: boolean;
  /** `own`: it has an empty network namespace of its own; `shared`: the one that the supervisor is in. */
  readonly namespace: 'own' | 'shared';
  /** Inodes of the sockets that it was started with. */
  readonly sockets: readonly number[];
  /** Sockets that the role itself says it has, where nobody else may look. */
  readonly reported?: readonly number[] | undefined;
};

/** What all scans of one server have in common. */
export type Watched = {
  readonly targets: readonly Target[];
  /** The port of our listener on 127.0.0.1. */
  readonly port: number;
  /** The inode of our listening socket. */
  readonly listener: number;
  /**
   * Processes in whose networks our sockets are, and captures of our traffic would be: the supervisor, and process 1
   * for a service that has an empty network and a listener in the machine's.
   */
  readonly networks: readonly number[];
  /** The path of the additional Unix socket; empty for none. */
  readonly unixPath: string;
  /** Folders and files that may be mapped as code; empty when nothing can be said. */
  readonly code: readonly string[];
  /** Sealed memory that may be mapped as code, as `device:inode`: its name could be anybody's. */
  readonly memory: readonly string[];
};

/** A value, or why there is none: the kernel refused, the process is gone, or it was not this scan's turn. */
export type Seen<T> = { readonly value: T } | { readonly missing: 'denied' | 'gone' | 'failed' | 'not-due' };

/** One thread of ours. */
export type ThreadState = { readonly tid: number; readonly state: string; readonly tracer: number };

/** One of our processes in this scan. */
export type TargetState = {
  readonly target: Target;
  readonly status: Seen<TaskStatus>;
  readonly threads: Seen<readonly ThreadState[]>;
  /** Inodes of the sockets that it holds descriptors of. */
  readonly sockets: Seen<readonly number[]>;
  /** How many sockets its own network namespace has; `not-due` when it shares the supervisor's. */
  readonly namespaceSockets: Seen<number>;
  /** Those of them that are in a table; read only when there are any. */
  readonly namespaceRows: readonly SocketRow[];
  readonly mappings: Seen<readonly Mapping[]>;
  /** Whether its control group is frozen. */
  readonly frozen: Seen<boolean>;
};

/** A process of the machine, ours left out. */
export type ProcessState = {
  readonly pid: number;
  readonly parent: number;
  /** Its real user: a set-user-ID program that somebody started is still somebody's. */
  readonly uid: number;
  /**
   * Whether it may look into processes of other users (root, or CAP_SYS_PTRACE outside a user namespace of its own).
   */
  readonly privileged: boolean;
  /** The kernel's name for it, at most 15 bytes. */
  readonly name: string;
  readonly argv: readonly string[];
  /** Path of its executable; empty where we may not see it. */
  readonly executable: string;
  /**
   * Pids of ours whose memory it has open, by the kernel's word and not by a path; `missing` where its descriptors are
   * hidden from us.
   */
  readonly opened: Seen<readonly number[]>;
  /** Inodes of packet sockets that it holds; read only when one has to be explained. */
  readonly captures: readonly number[];
};

/** Processes that a scan had no time for, and for how long the first of them waits. */
export type Overdue = { readonly processes: number; readonly oldestMs: number };

/**
 * Clocks in milliseconds: `monotonic` stands still while the machine sleeps, `boot` does not; `runnable`: how long the
 * process itself ran or waited for a processor.
 */
export type Clocks = { readonly monotonic: number; readonly boot: number; readonly runnable: number };

/** One scan. */
export type Snapshot = {
  readonly clocks: Clocks;
  /** When the scan before this one was made; `undefined` for the first. */
  readonly before: Clocks | undefined;
  readonly intervalMs: number;
  readonly watched: Watched;
  readonly targets: readonly TargetState[];
  readonly processes: Seen<readonly ProcessState[]>;
  /** Whether processes of other users are listed at all (`hidepid` hides them). */
  readonly othersListed: boolean;
  readonly overdue: Overdue;
  /** User whose processes are ours: the supervisor's. */
  readonly ownUid: number;
  /** Sockets of the machine's namespace that belong to our processes, and every packet and raw socket. */
  readonly rows: Seen<readonly SocketRow[]>;
  /** Whether the tables that explain sockets of ours could be read; captures have tables of their own. */
  readonly tablesRead: boolean;
  /** What the kernel hands every packet to, in the networks that our traffic is in. */
  readonly taps: Seen<readonly PacketTap[]>;
  /**
   * Files (device and inode as `maps` shows them) that ours have mapped since an earlier scan, when they lay at a
   * declared path.
   */
  readonly knownCode: ReadonlySet<string>;
  /** Whether the kernel could be asked about Unix sockets; their table holds text of strangers and is not read. */
  readonly unixKnown: boolean;
};

/** The value, or `undefined`. */
export function seen<T>(what: Seen<T>): T | undefined {
  return 'value' in what ? what.value : undefined;
}
