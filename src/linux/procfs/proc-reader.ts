/**
 * Reads files, folders and links below `/proc` for the watchdog and returns failures as values.
 *
 * Promise: opens files read-only. A failed read is reported as a failure, never as an empty result. At most 4 KiB are
 *          read from files that another process controls. No path is opened if another user could have mounted a file
 *          system over it.
 * Source:  proc(5)
 * Proof:   test/unit/watchdog/process-table.test.ts, test/unit/watchdog/memory-descriptors.test.ts
 * @module
 */
import { closeSync, constants, openSync, readdirSync, readlinkSync, readSync, statSync } from 'node:fs';
import { parseDescriptor } from './descriptors.ts';

/** A value, or the reason why there is none. */
export type ProcResult<T> = { readonly value: T } | { readonly missing: 'denied' | 'gone' | 'failed' };

/** Read access to `/proc`. */
export type ProcReader = {
  /**
   * Returns a whole file as Latin-1 text. Use it for files with short lines: if the first read returns less than half a
   * page, that counts as the whole file.
   */
  readonly read: (path: string) => ProcResult<string>;
  /** The same for files with lines of any length; with `most`, at most the first `most` bytes. */
  readonly readLong: (path: string, most?: number) => ProcResult<string>;
  /** Returns the first 4 KiB of a file, for files whose length another process controls. */
  readonly readHead: (path: string) => ProcResult<string>;
  readonly list: (path: string) => ProcResult<string[]>;
  readonly link: (path: string) => ProcResult<string>;
  /**
   * Returns the number of descriptors that a process has open, from the size of `/proc/PID/fd`; 0 before Linux 6.2,
   * which does not count them.
   */
  readonly count: (path: string) => ProcResult<number>;
  /** Returns the inode of a file in `/proc` itself. */
  readonly inode: (path: string) => ProcResult<number>;
  /** Returns the id of the mount that a file is on, from `fdinfo` of a descriptor. */
  readonly mount: (path: string) => ProcResult<number>;
};

const headBytes = 4096;

function missing(error: unknown): { readonly missing: 'denied' | 'gone' | 'failed' } {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'EACCES' || code === 'EPERM') return { missing: 'denied' };
  return { missing: code === 'ENOENT' || code === 'ESRCH' || code === 'ENOTDIR' ? 'gone' : 'failed' };
}

/** Returns the result of a call that may throw. */
function attempt<T>(call: () => T): ProcResult<T> {
  try {
    return { value: call() };
  } catch (error) {
    return missing(error);
  }
}

/** Opens a file, passes its descriptor to `use`, and closes it. */
function withFile<T>(path: string, use: (fd: number) => ProcResult<T>): ProcResult<T> {
  const opened = attempt(() => openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW));
  if (!('value' in opened)) return opened;
  try {
    return use(opened.value);
  } catch (error) {
    return missing(error);
  } finally {
    closeSync(opened.value);
  }
}

const mostBytes = 16 << 20;
/**
 * The kernel fills a page with whole lines, so a read that returns less than half a page was the last one. Confirming
 * this with another read is expensive: for `net/tcp` the kernel walks its whole hash table again, which has 262144
 * buckets on a large machine.
 */
const shortRead = 2048;

/** Returns a reader of this machine's `/proc`; its methods share one buffer. */
export function openProcReader(): ProcReader {
  let buffer = Buffer.alloc(64 * 1024);
  const readWith = (path: string, enough: number, most?: number): ProcResult<string> =>
    withFile(path, (fd) => {
      let length = 0;
      for (;;) {
        const read = readSync(fd, buffer, length, Math.min(buffer.length, most ?? mostBytes) - length, null);
        if (read === 0) break;
        const first = length === 0;
        length += read;
        if (length === most) break;
        if (first && read < enough) break;
        if (length < buffer.length) continue;
        if (buffer.length >= mostBytes) return { missing: 'failed' };
        buffer = Buffer.concat([buffer, Buffer.alloc(buffer.length)]);
      }
      return { value: buffer.toString('latin1', 0, length) };
    });
  const head = Buffer.alloc(headBytes);
  const readHead = (path: string): ProcResult<string> =>
    withFile(path, (fd) => ({ value: head.toString('latin1', 0, readSync(fd, head, 0, headBytes, null)) }));
  return {
    readHead,
    read: (path) => readWith(path, shortRead),
    readLong: (path, most) => readWith(path, 0, most),
    list: (path) => attempt(() => readdirSync(path)),
    link: (path) => attempt(() => readlinkSync(path)),
    count: (path) => attempt(() => statSync(path).size),
    inode: (path) => attempt(() => statSync(path).ino),
    mount: (path) =>
      withFile(path, (fd) => {
        const info = readHead(`/proc/self/fdinfo/${fd}`);
        if (!('value' in info)) return info;
        const mount = parseDescriptor(info.value)?.mount;
        return mount === undefined ? { missing: 'failed' } : { value: mount };
      }),
  };
}
