/**
 * Looking into `/proc` without ever writing: one read buffer, and failures as values.
 *
 * Promise: opens for reading only; what could not be read says why and is never an empty answer. Of a stranger's file
 *          at most 4 KiB are read, and a path that a stranger could have put another file system under is never opened.
 * Source:  proc(5)
 * Proof:   test/unit/linux/tasks.test.ts
 * @module
 */
import { closeSync, constants, openSync, readdirSync, readlinkSync, readSync, statSync } from 'node:fs';
import { parseDescriptor } from './tasks.ts';

/** A value, or why there is none. */
export type Look<T> = { readonly value: T } | { readonly missing: 'denied' | 'gone' | 'failed' };

/** The ways of looking that the watchdog is given. */
export type Eyes = {
  /** A whole file as Latin-1 text, for files whose lines are short: a first read far below a page is all there is. */
  readonly read: (path: string) => Look<string>;
  /** The same for files with lines of any length; with `most`, its first bytes and no more than that. */
  readonly readLong: (path: string, most?: number) => Look<string>;
  /** The first 4 KiB of a file that a stranger may make as long as he likes. */
  readonly readHead: (path: string) => Look<string>;
  readonly list: (path: string) => Look<string[]>;
  readonly link: (path: string) => Look<string>;
  /**
   * How many descriptors a process has, from the size of `/proc/PID/fd`; 0 also where the kernel does not count (before
   * 6.2).
   */
  readonly count: (path: string) => Look<number>;
  /** The inode of a file of `/proc` itself. */
  readonly inode: (path: string) => Look<number>;
  /** Id of the mount that a file is on, as `fdinfo` of a descriptor tells it. */
  readonly mount: (path: string) => Look<number>;
};

/** The most that is read of a stranger's file. */
export const headBytes = 4096;

function missing(error: unknown): { readonly missing: 'denied' | 'gone' | 'failed' } {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'EACCES' || code === 'EPERM') return { missing: 'denied' };
  return { missing: code === 'ENOENT' || code === 'ESRCH' || code === 'ENOTDIR' ? 'gone' : 'failed' };
}

const mostBytes = 16 << 20;
/**
 * The kernel fills a page with whole lines, so less than half of one means that nothing follows. The second read that
 * would say so is dear: for `net/tcp` the kernel walks its whole table again, 262144 buckets on a large machine.
 */
const surelyAll = 2048;

/** Eyes on this machine. */
export function openEyes(): Eyes {
  let buffer = Buffer.alloc(64 * 1024);
  const readWith = (path: string, enough: number, most?: number): Look<string> => {
    let fd: number | undefined;
    try {
      fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
      let length = 0;
      for (;;) {
        const taken = readSync(fd, buffer, length, Math.min(buffer.length, most ?? mostBytes) - length, null);
        if (taken === 0) break;
        const first = length === 0;
        length += taken;
        if (length === most) break;
        if (first && taken < enough) break;
        if (length < buffer.length) continue;
        if (buffer.length >= mostBytes) return { missing: 'failed' };
        buffer = Buffer.concat([buffer, Buffer.alloc(buffer.length)]);
      }
      return { value: buffer.toString('latin1', 0, length) };
    } catch (error) {
      return missing(error);
    } finally {
      if (fd !== undefined) closeSync(fd);
    }
  };
  const head = Buffer.alloc(headBytes);
  const readHead = (path: string): Look<string> => {
    let fd: number | undefined;
    try {
      fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
      return { value: head.toString('latin1', 0, readSync(fd, head, 0, headBytes, null)) };
    } catch (error) {
      return missing(error);
    } finally {
      if (fd !== undefined) closeSync(fd);
    }
  };
  return {
    readHead,
    read: (path) => readWith(path, surelyAll),
    readLong: (path, most) => readWith(path, 0, most),
    list(path) {
      try {
        return { value: readdirSync(path) };
      } catch (error) {
        return missing(error);
      }
    },
    link(path) {
      try {
        return { value: readlinkSync(path) };
      } catch (error) {
        return missing(error);
      }
    },
    count(path) {
      try {
        return { value: statSync(path).size };
      } catch (error) {
        return missing(error);
      }
    },
    inode(path) {
      try {
        return { value: statSync(path).ino };
      } catch (error) {
        return missing(error);
      }
    },
    mount(path) {
      let fd: number | undefined;
      try {
        fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
        const look = readHead(`/proc/self/fdinfo/${fd}`);
        if (!('value' in look)) return look;
        const mount = parseDescriptor(look.value)?.mount;
        return mount === undefined ? { missing: 'failed' } : { value: mount };
      } catch (error) {
        return missing(error);
      } finally {
        if (fd !== undefined) closeSync(fd);
      }
    },
  };
}
