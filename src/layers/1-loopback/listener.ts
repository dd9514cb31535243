/**
 * The listening sockets: the literal 127.0.0.1 and, on request, a Unix socket that only its owner reaches.
 *
 * Promise: the address is a constant of this file; what the kernel made of it is read back before it is used, and a
 *          socket that was inherited is held to the same. [::1] on the same port is taken without listening, so that
 *          nobody else answers clients who say `localhost`.
 * Limits:  the kernel may still deliver a foreign packet to a loopback listener; see request-guard.ts,
 *          `isLocalConnection`.
 * Proof:   test/attacks/1-bind.test.ts, test/attacks/1-lan.test.ts
 * @module
 */
import { chmodSync, lstatSync, readFileSync, unlinkSync } from 'node:fs';
import type { Stats } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { KwyreError } from '../../base/errors.ts';
import { LinuxError } from '../../linux/ffi.ts';
import { makeFolders } from '../../linux/files/make-folders.ts';
import { portHolder } from '../../linux/procfs/port-holder.ts';
import { loopbackHex } from '../../linux/procfs/net-tables.ts';
import { closeOnExec } from '../../linux/process.ts';
import {
  bindSocket,
  closeDescriptor,
  connectUnix,
  families,
  inet6Loopback,
  inetAddress,
  listenSocket,
  makeSocket,
  maxUnixPathBytes,
  setSocketOption,
  socketName,
  socketOption,
  socketOptions,
  unixAddress,
} from '../../linux/sockets/socket.ts';

/** Connections that wait in the kernel while the gateway is busy or being replaced. */
export const backlog = 128;

declare const verified: unique symbol;

/** A listening TCP socket whose address the kernel confirmed to be 127.0.0.1; made only in this file. */
export type LoopbackListener = { readonly fd: number; readonly port: number; readonly [verified]: true };

/** A listening Unix socket that only its owner can reach; made only in this file. */
export type UnixListener = {
  readonly fd: number;
  readonly path: string;
  /** Removes the path if it is still ours. */ remove(): void;
};

/** [::1] on the port: `reason` is empty when it is held, else why it is not. */
export type Ipv6Reservation = { readonly fd: number | undefined; readonly reason: string };

const literal = [127, 0, 0, 1] as const;

function closing<T>(fd: number, use: () => T): T {
  try {
    return use();
  } catch (error) {
    closeDescriptor(fd);
    throw error;
  }
}

function isErrno(error: unknown, ...codes: string[]): boolean {
  return error instanceof LinuxError && codes.includes(error.code);
}

function portTaken(address: string, port: number): KwyreError {
  const holder = portHolder(port);
  const who =
    holder === undefined
      ? 'another program'
      : holder.pid === undefined
        ? `a program of uid ${holder.uid}`
        : `pid ${holder.pid} (${holder.name ?? 'unknown'})`;
  const other = port < 65535 ? port + 1 : port - 1;
  return new KwyreError(
    'L1_PORT_TAKEN',
    `${address}:${port} is held by ${who}`,
    `stop it, or choose another port: ./kwyre serve --port ${other}`,
  );
}

/**
 * Reads a socket back from the kernel and accepts it only if it is a TCP listener on 127.0.0.1.
 * @throws `L1_SOCKET_FOREIGN`
 */
export function verifyLoopback(fd: number): LoopbackListener {
  const foreign = (what: string) =>
    new KwyreError(
      'L1_SOCKET_FOREIGN',
      `the listening socket ${what}; only a TCP listener on 127.0.0.1 is used`,
      'a socket unit needs ListenStream=127.0.0.1:PORT and nothing else',
    );
  let name: ReturnType<typeof socketName>;
  let facts: { type: number; protocol: number; listens: number; shared: number };
  try {
    name = socketName(fd);
    const option = (which: number) => socketOption(fd, which);
    facts = {
      type: option(socketOptions.type),
      protocol: option(socketOptions.protocol),
      listens: option(socketOptions.acceptsConnections),
      shared: name.family === 'inet' ? option(socketOptions.reusePort) : 0,
    };
  } catch (error) {
    if (error instanceof LinuxError) throw foreign(`cannot be read back (${error.message})`);
    throw error;
  }
  if (name.family !== 'inet') throw foreign(`is of family ${name.family}`);
  if (name.address !== literal.join('.')) throw foreign(`is bound to ${name.address}`);
  if (facts.type !== 1 || facts.protocol !== 6) throw foreign('is not TCP');
  if (facts.listens !== 1) throw foreign('does not listen');
  if (facts.shared !== 0) throw foreign('shares its port (SO_REUSEPORT)');
  return { fd, port: name.port } as LoopbackListener;
}

/**
 * Binds and listens on 127.0.0.1, alone, and reads the result back. Port 0 lets the kernel choose.
 * @throws `L1_PORT_TAKEN`, `L1_PORT_FORBIDDEN`, `L1_SOCKET_FOREIGN`
 */
export function bindLoopback(port: number): LoopbackListener {
  const fd = makeSocket(families.inet);
  return closing(fd, () => {
    // A port in TIME_WAIT after a restart is taken again; a port that somebody listens on is not.
    setSocketOption(fd, socketOptions.reuseAddress, 1);
    try {
      bindSocket(fd, inetAddress(literal, port));
      listenSocket(fd, backlog);
    } catch (error) {
      if (isErrno(error, 'EADDRINUSE')) throw portTaken('127.0.0.1', port);
      if (isErrno(error, 'EACCES', 'EPERM'))
        throw new KwyreError(
          'L1_PORT_FORBIDDEN',
          `this user may not bind port ${port}`,
          './kwyre serve --port 8000 (ports above 1023 need no privilege)',
        );
      throw error;
    }
    const listener = verifyLoopback(fd);
    if (port !== 0 && listener.port !== port)
      throw new KwyreError(
        'L1_SOCKET_FOREIGN',
        `asked for port ${port}, the kernel gave ${listener.port}`,
        'a program that changes sockets on this machine stands between; try again without it',
      );
    return listener;
  });
}

/**
 * Takes [::1]:port without listening: `ss -ltn` shows nothing, and nobody else can bind it.
 * @throws `L1_PORT_TAKEN` when another program holds it: it would answer clients that say `localhost`.
 */
export function reserveIpv6(port: number): Ipv6Reservation {
  let fd: number;
  try {
    fd = makeSocket(families.inet6);
  } catch (error) {
    if (error instanceof LinuxError)
      return { fd: undefined, reason: `this machine has no IPv6 (${error.code}), so nobody can listen on [::1]` };
    throw error;
  }
  return closing(fd, () => {
    try {
      // Without SO_REUSEADDR on our side the kernel refuses everybody else, whatever they set.
      bindSocket(fd, inet6Loopback(port));
    } catch (error) {
      if (isErrno(error, 'EADDRINUSE')) throw portTaken('[::1]', port);
      if (!(error instanceof LinuxError)) throw error;
      closeDescriptor(fd);
      return { fd: undefined, reason: `this machine has no [::1] now (${error.code}), so nobody can listen on it` };
    }
    return { fd, reason: '' };
  });
}

/** Whether the kernel still has the socket as the holder of [::1]:port. */
export function isIpv6Reserved(hold: Ipv6Reservation, port: number): boolean {
  if (hold.fd === undefined) return false;
  const name = socketName(hold.fd);
  return name.family === 'inet6' && name.address === `${'0'.repeat(31)}1` && name.port === port;
}

/** What a service manager says about descriptors that it hands over: `LISTEN_FDS`, `LISTEN_PID`. */
export type SocketActivation = { readonly fds: string | undefined; readonly pid: string | undefined };

/** The first descriptor that a service manager hands over; see sd_listen_fds(3). */
const firstHandedOver = 3;

/**
 * Takes the listening socket that a service manager made, held to the same as our own; `undefined` when none is said to
 * be there. Exactly one descriptor, meant for this process.
 * @throws `L1_SOCKET_FOREIGN`
 */
export function adoptActivatedSocket(handover: SocketActivation, pid: number): LoopbackListener | undefined {
  if (handover.fds === undefined && handover.pid === undefined) return undefined;
  const foreign = (what: string) =>
    new KwyreError(
      'L1_SOCKET_FOREIGN',
      `a socket is said to be handed over, but ${what}`,
      'a socket unit needs ListenStream=127.0.0.1:PORT and nothing else; without one, start with LISTEN_FDS and LISTEN_PID unset',
    );
  if (handover.pid !== String(pid)) throw foreign('to another process (LISTEN_PID)');
  if (handover.fds !== '1') throw foreign('not exactly one (LISTEN_FDS)');
  const listener = verifyLoopback(firstHandedOver);
  closeOnExec(listener.fd);
  return listener;
}

/** The listener of one start, what is known of [::1], and a process (its pid) in whose network the listener lies. */
export type Listeners = {
  readonly listener: LoopbackListener;
  readonly reservedIpv6: Ipv6Reservation;
  readonly network: number;
};

/** The service manager, in whose network the listener of a service lies that has an empty network itself. */
const serviceManager = 1;

/**
 * The listener that was handed over, else one of our own; and [::1] on its port, as far as this network reaches.
 * @throws `L1_PORT_TAKEN`, `L1_PORT_FORBIDDEN`, `L1_SOCKET_FOREIGN`
 */
export function openLoopback(handover: SocketActivation, pid: number, port: number): Listeners {
  const listener = adoptActivatedSocket(handover, pid) ?? bindLoopback(port);
  if (readFileSync(`/proc/${pid}/net/tcp`, 'latin1').includes(` ${loopbackHex(listener.port)} `))
    return { listener, reservedIpv6: reserveIpv6(listener.port), network: pid };
  // The installed service may make no socket, and its network is not the machine's.
  return {
    listener,
    reservedIpv6: {
      fd: undefined,
      reason:
        'this service is in a network of its own; a firewall rule of kwyre isolate refuses connections to [::1] on the port, which ./kwyre isolate status shows',
    },
    network: serviceManager,
  };
}

/**
 * Binds a Unix socket of mode 0600 in a folder of mode 0700 that belongs to this user.
 * @throws `L1_SOCKET_UNSAFE`, `L1_SOCKET_TAKEN`, `L1_SOCKET_PATH`
 */
export function bindUnix(path: string): UnixListener {
  const full = resolve(path);
  if (Buffer.byteLength(full) > maxUnixPathBytes || full.includes('\0'))
    throw new KwyreError(
      'L1_SOCKET_PATH',
      `a socket path has at most ${maxUnixPathBytes} bytes`,
      'choose a shorter --socket PATH',
    );
  checkFolder(dirname(full));
  removeDead(full);
  const fd = makeSocket(families.unix);
  return closing(fd, () => {
    const before = process.umask(0o177);
    try {
      bindSocket(fd, unixAddress(full));
    } catch (error) {
      if (isErrno(error, 'EADDRINUSE')) throw taken(full);
      if (error instanceof LinuxError)
        throw new KwyreError(
          'L1_SOCKET_PATH',
          `cannot make the socket ${full} (${error.code})`,
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
        `the socket ${full} is not what was asked for`,
        'choose another --socket PATH, on a file system that keeps sockets and their modes',
      );
    return {
      fd,
      path: full,
      remove() {
        const now = lstatSync(full, { bigint: true, throwIfNoEntry: false });
        // The inode number alone is used again at once by some file systems.
        if (now?.ino === made.ino && now.dev === made.dev && now.ctimeNs === made.ctimeNs) unlinkSync(full);
      },
    };
  });
}

function taken(path: string): KwyreError {
  return new KwyreError(
    'L1_SOCKET_TAKEN',
    `${path} exists and is not a dead socket of this user`,
    'remove it yourself if nothing uses it, or choose another --socket PATH',
  );
}

/** The folder decides who can reach or replace the socket. @throws `L1_SOCKET_UNSAFE`, `L1_SOCKET_PATH` */
function checkFolder(folder: string): void {
  let facts: Stats;
  try {
    makeFolders(folder, 0o700);
    facts = lstatSync(folder);
  } catch (error) {
    throw new KwyreError(
      'L1_SOCKET_PATH',
      `cannot make or read the folder ${folder} (${(error as NodeJS.ErrnoException).code ?? 'error'})`,
      'choose another --socket PATH, in a folder of this user with mode 0700',
    );
  }
  if (!facts.isDirectory() || facts.uid !== process.getuid?.() || (facts.mode & 0o077) !== 0) {
    throw new KwyreError(
      'L1_SOCKET_UNSAFE',
      `${folder} must be a folder of this user with mode 0700`,
      `chmod 700 ${folder}, or choose another --socket PATH`,
    );
  }
}

/** Removes what a crash of ours left; anything else stays. @throws `L1_SOCKET_TAKEN` */
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
