/**
 * The optional Unix socket: mode 0600, in a folder of mode 0700 that belongs to this user.
 *
 * Promise: replaces only a stale socket that this user owns, and removes only the socket that it made.
 * Proof:   test/attacks/1-bind.test.ts
 * @module
 */
import { chmodSync, lstatSync, unlinkSync } from 'node:fs';
import type { Stats } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { KwyreError } from '../../base/errors.ts';
import { LinuxError } from '../../linux/ffi.ts';
import { makeFolders } from '../../linux/files/make-folders.ts';
import {
  bindSocket,
  connectUnix,
  families,
  listenSocket,
  makeSocket,
  maxUnixPathBytes,
  socketName,
  unixAddress,
} from '../../linux/sockets/socket.ts';
import { backlog, closeOnError, isErrno } from './listener.ts';

/** A listening Unix socket that only its owner can reach. */
type UnixListener = {
  readonly fd: number;
  readonly path: string;
  /** Removes the socket file if it is still the one that this listener made. */
  remove(): void;
};

/**
 * Binds a Unix socket and listens on it; creates its folder if needed.
 * @throws `L1_SOCKET_UNSAFE`, `L1_SOCKET_TAKEN`, `L1_SOCKET_PATH`
 */
export function bindUnix(path: string): UnixListener {
  const full = resolve(path);
  if (Buffer.byteLength(full) > maxUnixPathBytes || full.includes('\0'))
    throw new KwyreError(
      'L1_SOCKET_PATH',
      `the socket path is longer than ${maxUnixPathBytes} bytes`,
      'choose a shorter --socket PATH',
    );
  checkFolder(dirname(full));
  removeDead(full);
  const fd = makeSocket(families.unix);
  return closeOnError(fd, () => {
    const before = process.umask(0o177);
    try {
      bindSocket(fd, unixAddress(full));
    } catch (error) {
      if (isErrno(error, 'EADDRINUSE')) throw taken(full);
      if (error instanceof LinuxError)
        throw new KwyreError(
          'L1_SOCKET_PATH',
          `cannot create the socket ${full} (${error.code})`,
          'choose another --socket PATH',
        );
      throw error;
    } finally {
      process.umask(before);
    }
    chmodSync(full, 0o600);
    listenSocket(fd, backlog);
    const made = lstatSync(full, { bigint: true });
    if (socketName(fd).family !== 'unix' || !made.isSocket() || (made.mode & 0o777n) !== 0o600n)
      throw new KwyreError(
        'L1_SOCKET_FOREIGN',
        `the new socket ${full} is not a socket of mode 0600`,
        'choose a --socket PATH on a file system that supports sockets and their modes',
      );
    return {
      fd,
      path: full,
      remove() {
        const now = lstatSync(full, { bigint: true, throwIfNoEntry: false });
        // Some file systems reuse inode numbers immediately, so the inode number is not enough.
        if (now?.ino === made.ino && now.dev === made.dev && now.ctimeNs === made.ctimeNs) unlinkSync(full);
      },
    };
  });
}

function taken(path: string): KwyreError {
  return new KwyreError(
    'L1_SOCKET_TAKEN',
    `${path} exists and is not a stale socket of this user`,
    'if nothing uses it, remove it; or choose another --socket PATH',
  );
}

/**
 * Checks the folder, whose mode decides who can reach or replace the socket.
 * @throws `L1_SOCKET_UNSAFE`, `L1_SOCKET_PATH`
 */
function checkFolder(folder: string): void {
  let facts: Stats;
  try {
    makeFolders(folder, 0o700);
    facts = lstatSync(folder);
  } catch (error) {
    throw new KwyreError(
      'L1_SOCKET_PATH',
      `cannot create or read the folder ${folder} (${(error as NodeJS.ErrnoException).code ?? 'error'})`,
      'choose a --socket PATH in a folder that belongs to this user and has mode 0700',
    );
  }
  if (!facts.isDirectory() || facts.uid !== process.getuid?.() || (facts.mode & 0o077) !== 0) {
    throw new KwyreError(
      'L1_SOCKET_UNSAFE',
      `${folder} does not belong to this user or has a mode other than 0700`,
      `chmod 700 ${folder}, or choose another --socket PATH`,
    );
  }
}

/** Removes a socket left behind by a crash; leaves anything else in place. @throws `L1_SOCKET_TAKEN` */
function removeDead(path: string): void {
  const facts = lstatSync(path, { throwIfNoEntry: false });
  if (facts === undefined) return;
  if (!facts.isSocket() || facts.uid !== process.getuid?.()) throw taken(path);
  try {
    connectUnix(path);
  } catch (error) {
    if (!isErrno(error, 'ECONNREFUSED')) throw taken(path);
    unlinkSync(path);
    return;
  }
  throw taken(path);
}
