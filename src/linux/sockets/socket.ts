/**
 * Sockets without a Node handle: plain descriptors, which nothing polls until the process that will use them receives
 * them.
 *
 * Trust:  addresses are constants in the callers; names are not resolved.
 * Source: socket(2), ip(7), unix(7)
 * Proof:  test/unit/linux/socket.test.ts
 * @module
 */
import { checked, libc } from '../ffi.ts';

const cSocket = libc.func('int socket(int domain, int type, int protocol)') as (
  domain: number,
  type: number,
  protocol: number,
) => number;
const cSocketPair = libc.func('int socketpair(int domain, int type, int protocol, void *pair)') as (
  domain: number,
  type: number,
  protocol: number,
  pair: Int32Array,
) => number;
const cBind = libc.func('int bind(int fd, void *address, uint32_t length)') as (
  fd: number,
  address: Buffer,
  length: number,
) => number;
const cConnect = libc.func('int connect(int fd, void *address, uint32_t length)') as (
  fd: number,
  address: Buffer,
  length: number,
) => number;
const cListen = libc.func('int listen(int fd, int backlog)') as (fd: number, backlog: number) => number;
const cGetSockName = libc.func('int getsockname(int fd, void *address, void *length)') as (
  fd: number,
  address: Buffer,
  length: Uint32Array,
) => number;
const cGetSockOpt = libc.func('int getsockopt(int fd, int level, int name, void *value, void *length)') as (
  fd: number,
  level: number,
  name: number,
  value: Int32Array,
  length: Uint32Array,
) => number;
const cSetSockOpt = libc.func('int setsockopt(int fd, int level, int name, void *value, uint32_t length)') as (
  fd: number,
  level: number,
  name: number,
  value: Int32Array,
  length: number,
) => number;

/** Address families. */
export const families = { unix: 1, inet: 2, inet6: 10 } as const;
const streamType = 1;
const closeOnExec = 0o2000000;
const nonBlocking = 0o4000;
const socketLevel = 1;

/** The `SOL_SOCKET` options that Kwyre sets or reads. */
export const socketOptions = { reuseAddress: 2, type: 3, reusePort: 15, acceptsConnections: 30, protocol: 38 } as const;

/** An address as `getsockname` returns it. */
type SocketName =
  | { readonly family: 'inet'; readonly address: string; readonly port: number }
  /** `address`: 32 hexadecimal digits. */
  | { readonly family: 'inet6'; readonly address: string; readonly port: number }
  | { readonly family: 'unix' | 'other' };

/** Creates a stream socket, close-on-exec. @throws LinuxError */
export function makeSocket(family: number): number {
  return checked('socket', cSocket(family, streamType | closeOnExec, 0));
}

/** Creates two connected Unix stream sockets, close-on-exec. @throws LinuxError */
export function makeSocketPair(): [number, number] {
  const pair = new Int32Array(2);
  checked('socketpair', cSocketPair(families.unix, streamType | closeOnExec, 0, pair));
  return [pair[0] ?? -1, pair[1] ?? -1];
}

/** Returns the `sockaddr_in` for an address and port. */
export function inetAddress(address: readonly [number, number, number, number], port: number): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeUInt16LE(families.inet, 0);
  bytes.writeUInt16BE(port, 2);
  bytes.set(address, 4);
  return bytes;
}

/** Returns the `sockaddr_in6` for `::1` and a port. */
export function inet6Loopback(port: number): Buffer {
  const bytes = Buffer.alloc(28);
  bytes.writeUInt16LE(families.inet6, 0);
  bytes.writeUInt16BE(port, 2);
  bytes[23] = 1;
  return bytes;
}

/** Maximum length of a path in `sockaddr_un`, in bytes. */
export const maxUnixPathBytes = 107;

/** Returns the `sockaddr_un` for a path in the file system. */
export function unixAddress(path: string): Buffer {
  const name = Buffer.from(path, 'utf8');
  const bytes = Buffer.alloc(2 + name.length + 1);
  bytes.writeUInt16LE(families.unix, 0);
  bytes.set(name, 2);
  return bytes;
}

/** Binds a socket. @throws LinuxError, `EADDRINUSE` if the address is in use */
export function bindSocket(fd: number, address: Buffer): void {
  checked('bind', cBind(fd, address, address.length));
}

/** Listens on a socket. @throws LinuxError, `EADDRINUSE` if another socket listens on the address */
export function listenSocket(fd: number, backlog: number): void {
  checked('listen', cListen(fd, backlog));
}

/** Connects to a Unix socket and closes the connection; fails if no process listens on it. @throws LinuxError */
export function connectUnix(path: string): void {
  const fd = checked('socket', cSocket(families.unix, streamType | closeOnExec | nonBlocking, 0));
  try {
    const address = unixAddress(path);
    checked('connect', cConnect(fd, address, address.length));
  } finally {
    closeDescriptor(fd);
  }
}

const cClose = libc.func('int close(int fd)') as (fd: number) => number;

/** Closes a descriptor that has no Node handle. */
export function closeDescriptor(fd: number): void {
  cClose(fd);
}

/** Returns the local address of a socket. @throws LinuxError */
export function socketName(fd: number): SocketName {
  const bytes = Buffer.alloc(128);
  const length = new Uint32Array([bytes.length]);
  checked('getsockname', cGetSockName(fd, bytes, length));
  const family = bytes.readUInt16LE(0);
  if (family === families.inet)
    return { family: 'inet', address: bytes.subarray(4, 8).join('.'), port: bytes.readUInt16BE(2) };
  if (family === families.inet6)
    return { family: 'inet6', address: bytes.subarray(8, 24).toString('hex'), port: bytes.readUInt16BE(2) };
  return { family: family === families.unix ? 'unix' : 'other' };
}

/** Returns an integer `SOL_SOCKET` option. @throws LinuxError */
export function socketOption(fd: number, name: number): number {
  const value = new Int32Array(1);
  checked('getsockopt', cGetSockOpt(fd, socketLevel, name, value, new Uint32Array([4])));
  return value[0] ?? 0;
}

/** Sets an integer `SOL_SOCKET` option. @throws LinuxError */
export function setSocketOption(fd: number, name: number, value: number): void {
  checked('setsockopt', cSetSockOpt(fd, socketLevel, name, new Int32Array([value]), 4));
}
