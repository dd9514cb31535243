/**
 * The TCP listener on 127.0.0.1.
 *
 * Promise: the address is a constant in this file. The kernel's view of the socket is verified before use, even if
 *          socket activation passed the socket. [::1] on the same port is bound without listening, so that no other
 *          program answers clients that connect to `localhost`.
 * Limits:  the kernel may still deliver a packet from another interface to a loopback listener; see `isLocalConnection`
 *          in request-guard.ts.
 * Proof:   test/attacks/1-bind.test.ts, test/attacks/1-lan.test.ts
 * @module
 */
import { readFileSync } from 'node:fs';
import { KwyreError } from '../../base/errors.ts';
import { LinuxError } from '../../linux/ffi.ts';
import { portHolder } from '../../linux/procfs/port-holder.ts';
import { loopbackHex } from '../../linux/procfs/net-tables.ts';
import { closeOnExec } from '../../linux/process.ts';
import {
  bindSocket,
  closeDescriptor,
  families,
  inet6Loopback,
  inetAddress,
  listenSocket,
  makeSocket,
  setSocketOption,
  socketName,
  socketOption,
  socketOptions,
} from '../../linux/sockets/socket.ts';

/** Connections that the kernel queues while the gateway is busy or restarting. */
export const backlog = 128;

declare const verified: unique symbol;

/** A listening TCP socket that the kernel confirmed to be on 127.0.0.1; only `verifyLoopback` creates one. */
type LoopbackListener = { readonly fd: number; readonly port: number; readonly [verified]: true };

/** The reservation of [::1]:port. `reason` is empty if it is bound, and otherwise explains why it is not. */
type Ipv6Reservation = { readonly fd: number | undefined; readonly reason: string };

const literal = [127, 0, 0, 1] as const;

/** Runs `use`; closes the descriptor if it throws. */
export function closeOnError<T>(fd: number, use: () => T): T {
  try {
    return use();
  } catch (error) {
    closeDescriptor(fd);
    throw error;
  }
}

/** Returns whether an error is a `LinuxError` with one of these codes. */
export function isErrno(error: unknown, ...codes: string[]): boolean {
  return error instanceof LinuxError && codes.includes(error.code);
}

const unitRemedy = 'in the socket unit, set ListenStream=127.0.0.1:PORT and no other Listen line';

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
    `${address}:${port} is in use by ${who}`,
    `stop that program, or use another port: ./kwyre serve --port ${other}`,
  );
}

/**
 * Verifies with the kernel that a descriptor is a TCP listener on 127.0.0.1 that shares its port with no other socket.
 * @throws `L1_SOCKET_FOREIGN`
 */
export function verifyLoopback(fd: number): LoopbackListener {
  const foreign = (what: string) =>
    new KwyreError(
      'L1_SOCKET_FOREIGN',
      `the listening socket ${what}; it must be a TCP listener on 127.0.0.1`,
      unitRemedy,
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
    if (error instanceof LinuxError) throw foreign(`cannot be inspected (${error.message})`);
    throw error;
  }
  if (name.family !== 'inet') throw foreign(`is of family ${name.family}`);
  if (name.address !== literal.join('.')) throw foreign(`is bound to ${name.address}`);
  if (facts.type !== 1 || facts.protocol !== 6) throw foreign('is not TCP');
  if (facts.listens !== 1) throw foreign('is not listening');
  if (facts.shared !== 0) throw foreign('shares its port (SO_REUSEPORT)');
  return { fd, port: name.port } as LoopbackListener;
}

/**
 * Binds a socket to 127.0.0.1, listens on it and verifies the result.
 * @param port - 0 lets the kernel choose
 * @throws `L1_PORT_TAKEN`, `L1_PORT_FORBIDDEN`, `L1_SOCKET_FOREIGN`
 * @internal
 */
export function bindLoopback(port: number): LoopbackListener {
  const fd = makeSocket(families.inet);
  return closeOnError(fd, () => {
    // Allows binding a port that is in TIME_WAIT after a restart, but not one that has a listener.
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
          'use a port above 1023, which needs no privilege: ./kwyre serve --port 8000',
        );
      throw error;
    }
    const listener = verifyLoopback(fd);
    if (port !== 0 && listener.port !== port)
      throw new KwyreError(
        'L1_SOCKET_FOREIGN',
        `the socket is bound to port ${listener.port} instead of ${port}`,
        'another program on this machine rewrites bind calls (such as a BPF program); stop it and start again',
      );
    return listener;
  });
}

/**
 * Binds [::1]:port without listening: `ss -ltn` shows nothing, and no other program can bind it.
 * @throws `L1_PORT_TAKEN` if another program has it, because that program would answer clients of `localhost`
 * @internal
 */
export function reserveIpv6(port: number): Ipv6Reservation {
  let fd: number;
  try {
    fd = makeSocket(families.inet6);
  } catch (error) {
    if (error instanceof LinuxError)
      return { fd: undefined, reason: `this machine has no IPv6 (${error.code}), so no program can listen on [::1]` };
    throw error;
  }
  return closeOnError(fd, () => {
    try {
      // Without SO_REUSEADDR here, the kernel refuses every other bind, whatever its options.
      bindSocket(fd, inet6Loopback(port));
    } catch (error) {
      if (isErrno(error, 'EADDRINUSE')) throw portTaken('[::1]', port);
      if (!(error instanceof LinuxError)) throw error;
      closeDescriptor(fd);
      return {
        fd: undefined,
        reason: `this machine has no address [::1] (${error.code}), so no program can listen on it`,
      };
    }
    return { fd, reason: '' };
  });
}

/** Returns whether the reservation socket is still bound to [::1]:port. */
export function isIpv6Reserved(hold: Ipv6Reservation, port: number): boolean {
  if (hold.fd === undefined) return false;
  const name = socketName(hold.fd);
  return name.family === 'inet6' && name.address === `${'0'.repeat(31)}1` && name.port === port;
}

/** The variables of socket activation, `LISTEN_FDS` and `LISTEN_PID`; see sd_listen_fds(3). */
type SocketActivation = { readonly fds: string | undefined; readonly pid: string | undefined };

/** The first descriptor that socket activation passes (SD_LISTEN_FDS_START). */
const firstActivated = 3;

/**
 * Adopts the socket passed by socket activation, after the same verification. There must be exactly one socket, and it
 * must be meant for this process.
 * @returns `undefined` without socket activation
 * @throws `L1_SOCKET_FOREIGN`
 * @internal
 */
export function adoptActivatedSocket(activation: SocketActivation, pid: number): LoopbackListener | undefined {
  if (activation.fds === undefined && activation.pid === undefined) return undefined;
  const foreign = (what: string) =>
    new KwyreError(
      'L1_SOCKET_FOREIGN',
      `socket activation ${what}`,
      `${unitRemedy}; without a unit, unset LISTEN_FDS and LISTEN_PID`,
    );
  if (activation.pid !== String(pid)) throw foreign('is for another process (LISTEN_PID)');
  if (activation.fds !== '1') throw foreign('does not pass exactly one socket (LISTEN_FDS)');
  const listener = verifyLoopback(firstActivated);
  closeOnExec(listener.fd);
  return listener;
}

/** The listener, the reservation of [::1], and the pid of a process in the listener's network namespace. */
type OpenedListener = {
  readonly listener: LoopbackListener;
  readonly reservedIpv6: Ipv6Reservation;
  readonly network: number;
};

/**
 * Pid of the service manager. An installed service has an empty network namespace, so its listener is in the service
 * manager's.
 */
const serviceManager = 1;

/**
 * Adopts or binds the listener, and reserves [::1] on its port if this process's network namespace allows it.
 * @throws `L1_PORT_TAKEN`, `L1_PORT_FORBIDDEN`, `L1_SOCKET_FOREIGN`
 */
export function openLoopback(activation: SocketActivation, pid: number, port: number): OpenedListener {
  const listener = adoptActivatedSocket(activation, pid) ?? bindLoopback(port);
  if (readFileSync(`/proc/${pid}/net/tcp`, 'latin1').includes(` ${loopbackHex(listener.port)} `))
    return { listener, reservedIpv6: reserveIpv6(listener.port), network: pid };
  // An installed service cannot create sockets, and its network namespace is empty.
  return {
    listener,
    reservedIpv6: {
      fd: undefined,
      reason:
        'this service has a network namespace of its own; the firewall rejects connections to [::1] on the port ' +
        '(see ./kwyre isolate status)',
    },
    network: serviceManager,
  };
}
