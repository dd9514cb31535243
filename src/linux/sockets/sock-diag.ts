/**
 * Looks up one Unix socket through netlink. `/proc/net/unix` cannot be trusted, because an abstract name may contain
 * line feeds and forge whole rows.
 *
 * Source: sock_diag(7), net/unix/diag.c
 * Proof:  test/unit/linux/sock-diag.test.ts
 * @module
 */
import { readSync, writeSync } from 'node:fs';
import { checked, libc } from '../ffi.ts';

const cSocket = libc.func('int socket(int domain, int type, int protocol)') as (
  domain: number,
  type: number,
  protocol: number,
) => number;

const cGetXattr = libc.func('int64_t getxattr(const char *path, const char *name, uint8_t *value, size_t size)') as (
  path: string,
  name: string,
  value: Buffer,
  size: number,
) => number;

const netlink = 16;
const raw = 3;
const closeOnExec = 0o2000000;
const nonBlocking = 0o4000;
const sockDiag = 4;
const byFamily = 20;
const requestFlag = 1;
const unixFamily = 1;
const headerBytes = 16;
const factBytes = 16;
const showName = 1;
const nameAttribute = 0;
const unknown = 0xffffffff;

/** Creates a netlink socket that reports on sockets in this network namespace. @throws LinuxError */
export function makeDiagSocket(): number {
  return checked('socket', cSocket(netlink, raw | closeOnExec | nonBlocking, sockDiag));
}

/** One Unix socket. */
export type UnixSocket = {
  readonly inode: number;
  readonly state: number;
  /** The socket's name in Latin-1; an abstract name starts with a NUL. */
  readonly name: string;
};

/** Encodes the request for one socket by its inode. */
function encodeRequest(inode: number): Buffer {
  const bytes = Buffer.alloc(headerBytes + 24);
  bytes.writeUInt32LE(bytes.length, 0);
  bytes.writeUInt16LE(byFamily, 4);
  bytes.writeUInt16LE(requestFlag, 6);
  bytes[headerBytes] = unixFamily;
  bytes.writeUInt32LE(unknown, headerBytes + 4); // any state
  bytes.writeUInt32LE(inode, headerBytes + 8);
  bytes.writeUInt32LE(showName, headerBytes + 12);
  bytes.writeUInt32LE(unknown, headerBytes + 16); // any cookie
  bytes.writeUInt32LE(unknown, headerBytes + 20);
  return bytes;
}

/** Parses a response; returns `undefined` for an error, which means that there is no such socket. @internal */
export function parseUnixAnswer(bytes: Buffer): UnixSocket | undefined {
  if (bytes.length < headerBytes + factBytes || bytes.readUInt16LE(4) !== byFamily || bytes[headerBytes] !== unixFamily)
    return undefined;
  const end = Math.min(bytes.length, bytes.readUInt32LE(0));
  let name = '';
  for (let at = headerBytes + factBytes; at + 4 <= end;) {
    const length = bytes.readUInt16LE(at);
    if (length < 4 || at + length > end) break;
    if (bytes.readUInt16LE(at + 2) === nameAttribute) name = bytes.toString('latin1', at + 4, at + length);
    at += (length + 3) & ~3;
  }
  // A path ends with a NUL; an abstract name starts with one and may contain more.
  return {
    inode: bytes.readUInt32LE(headerBytes + 4),
    state: bytes[headerBytes + 2] ?? 0,
    name: name.startsWith('\0') ? name : name.replace(/\0$/, ''),
  };
}

/** Returns the Unix socket with this inode, or `undefined`. @throws an errno error if the request fails */
export function askUnixSocket(fd: number, inode: number): UnixSocket | undefined {
  writeSync(fd, encodeRequest(inode));
  const answer = Buffer.alloc(4096);
  const socket = parseUnixAnswer(answer.subarray(0, readSync(fd, answer)));
  return socket?.inode === inode ? socket : undefined;
}

/**
 * Returns the kernel's name of a socket's protocol (`TCP`, `MPTCP`, `UNIX-STREAM`), or `undefined` if it reports none.
 * @param path - path of the descriptor in `/proc/PID/fd`
 */
export function protocolName(path: string): string | undefined {
  const value = Buffer.alloc(64);
  const length = cGetXattr(path, 'system.sockprotoname', value, value.length);
  return length <= 0 ? undefined : value.toString('latin1', 0, length).replace(/\0.*$/s, '');
}
