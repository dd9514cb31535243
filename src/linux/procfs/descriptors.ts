/**
 * Open descriptors of a process: the links in `/proc/PID/fd` and the files in `/proc/PID/fdinfo`.
 *
 * Trust:  another process may have chosen the path in a link.
 * Source: proc_pid_fd(5), proc_pid_fdinfo(5)
 * Proof:  test/unit/linux/descriptors.test.ts, test/unit/watchdog/memory-descriptors.test.ts
 * @module
 */
import { readdirSync, readlinkSync } from 'node:fs';

/** Returns the inode of a descriptor link `socket:[123]`, or `undefined` for any other link. */
export function socketInode(link: string): number | undefined {
  return link.startsWith('socket:[') ? Number(link.slice(8, -1)) : undefined;
}

/** Returns the inodes of the sockets that a process holds; none if it has ended or is hidden from this user. */
export function socketInodes(pid: number): number[] {
  let names: string[];
  try {
    names = readdirSync(`/proc/${pid}/fd`);
  } catch {
    return [];
  }
  return names.flatMap((name) => {
    try {
      return socketInode(readlinkSync(`/proc/${pid}/fd/${name}`)) ?? [];
    } catch {
      return []; // closed in the meantime, like the descriptor used for this listing
    }
  });
}

/**
 * Returns the process or thread whose memory a descriptor link names (`ID/mem` or `ID/task/TID/mem`), and that part of
 * the path; `undefined` for any other link. Any user can create a folder of that name, so
 * `watchdog/memory-descriptors.ts` examines what is behind the link.
 */
export function memoryNamed(link: string): { readonly id: number; readonly tail: string } | undefined {
  if (!link.endsWith('/mem')) return undefined;
  const match = /(?:^|\/)(\d+)\/(?:task\/\d+\/)?mem$/.exec(link);
  return match === null
    ? undefined
    : { id: Number(match[1]), tail: match[0].startsWith('/') ? match[0] : `/${match[0]}` };
}

/** The fields of `fdinfo` that every descriptor has; the file's file system does not influence them. */
type Descriptor = {
  /** Whether it was opened with `O_PATH`, which requires no permission and allows no reading. */
  readonly pathOnly: boolean;
  readonly mount: number;
  /** `undefined` before Linux 5.14. */
  readonly inode: number | undefined;
};

const pathOnlyFlag = 0o10000000;

/** Parses `fdinfo`. Returns `undefined` for any other form. */
export function parseDescriptor(text: string): Descriptor | undefined {
  const match = /^pos:\t\d+\nflags:\t0(\d+)\nmnt_id:\t(\d+)\n(?:ino:\t(\d+)\n)?/.exec(text);
  if (match === null) return undefined;
  return {
    pathOnly: (Number.parseInt(match[1] ?? '0', 8) & pathOnlyFlag) !== 0,
    mount: Number(match[2]),
    inode: match[3] === undefined ? undefined : Number(match[3]),
  };
}
