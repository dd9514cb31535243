/**
 * Attempts to get a packet out of a role's jail with plain system calls, without a resolver or library.
 *
 * Promise: every target is an address of this machine, so a packet that escapes arrives here and nowhere else.
 * Trust:   `run` is attacker code. `src/probe/main.ts` calls it inside a jail; every other process reads only the
 *          names.
 * Proof:   test/attacks/2-probe.test.ts, test/unit/cli/attempt.test.ts
 * @module
 */
import { LinuxError } from '../../../linux/ffi.ts';
import { addressOf, callByName as call } from '../../../linux/syscalls.ts';
import { closeDescriptor, families, inet6Loopback, inetAddress } from '../../../linux/sockets/socket.ts';
import type { Role } from '../../../policy/roles.ts';
import type { ProbeTargets } from './probe-request.ts';

/** The targets of an attempt; `inherited` is a TCP socket made outside the jail, like the gateway's listener. */
type AttemptTargets = ProbeTargets & { readonly inherited: number };

/** One thing that a compromised role would try. */
export type Attempt = {
  /** Ids in the threat model, separated by spaces; empty if the threat model does not list this attempt. */
  readonly ids: string;
  readonly title: string;
  /** Roles whose work requires this ability; for them, success is not an escape. */
  readonly allowedFor?: readonly Role[];
  /** Makes the attempt; throws if it fails. */
  readonly run: (targets: AttemptTargets) => unknown;
};

const types = { stream: 1, datagram: 2 } as const;
const fastOpen = 0x20000000;
const setFlags = 4;
const nonBlocking = 0x800;

/** Runs a system call; returns 0 or the kernel's error number. */
export function resultOf(act: () => unknown): number {
  try {
    act();
    return 0;
  } catch (error) {
    if (error instanceof LinuxError) return error.errno;
    const { errno } = error as NodeJS.ErrnoException;
    if (errno === undefined) throw error;
    return Math.abs(errno);
  }
}

/**
 * Makes a socket non-blocking, because a pending connection counts as an escape. If this call is refused, the attempt
 * continues anyway.
 */
function makeNonBlocking(fd: number): void {
  resultOf(() => call('fcntl', fd, setFlags, nonBlocking));
}

function withSocket(family: number, type: number, act: (fd: number) => unknown): void {
  const fd = call('socket', family, type, 0);
  try {
    makeNonBlocking(fd);
    act(fd);
  } finally {
    closeDescriptor(fd);
  }
}

const connect = (fd: number, address: Buffer): number => call('connect', fd, addressOf(address), address.length);
const send = (fd: number, bytes: Buffer, flags: number, address: Buffer): number =>
  call('sendto', fd, addressOf(bytes), bytes.length, flags, addressOf(address), address.length);

/** An abstract Unix socket that no process listens on: a refused connection means that the request got out. */
const abstractAddress = Buffer.concat([Buffer.from([families.unix, 0, 0]), Buffer.from('kwyre-self-probe')]);

/** A DNS query for `kwyre.invalid`, which no resolver forwards. */
const dnsQuery = Buffer.from(
  '6b770100000100000000000005 6b77797265 07 696e76616c6964 00 0001 0001'.replaceAll(' ', ''),
  'hex',
);

const closed = ({ machine, closedPort }: AttemptTargets): Buffer => inetAddress([...machine], closedPort);
const served = ({ servedPort }: AttemptTargets): Buffer => inetAddress([127, 0, 0, 1], servedPort);

/** Every attempt on the network, by the id that a probe request names. */
export const egressAttempts = {
  tcp: {
    ids: 'L2-01 L2-11',
    title: 'TCP to a closed port of an address of this machine',
    run: (targets) => {
      withSocket(families.inet, types.stream, (fd) => connect(fd, closed(targets)));
    },
  },
  loopback: {
    ids: 'L2-05',
    title: 'TCP to another service on loopback',
    run: (targets) => {
      withSocket(families.inet, types.stream, (fd) => connect(fd, served(targets)));
    },
  },
  tcp6: {
    ids: 'L2-02',
    title: 'TCP over IPv6',
    run: ({ closedPort }) => {
      withSocket(families.inet6, types.stream, (fd) => connect(fd, inet6Loopback(closedPort)));
    },
  },
  udp: {
    ids: 'L2-04',
    title: 'UDP to an address of this machine',
    run: (targets) => {
      withSocket(families.inet, types.datagram, (fd) => send(fd, Buffer.from('x'), 0, closed(targets)));
    },
  },
  dns: {
    ids: 'L2-03',
    title: 'a DNS query to a resolver on loopback',
    run: () => {
      withSocket(families.inet, types.datagram, (fd) => send(fd, dnsQuery, 0, inetAddress([127, 0, 0, 53], 53)));
    },
  },
  unix: {
    ids: 'L2-06',
    title: "another program's Unix socket",
    run: () => {
      withSocket(families.unix, types.stream, (fd) => connect(fd, abstractAddress));
    },
  },
  'listener-fastopen': {
    ids: 'L2-21',
    title: 'TCP Fast Open on an inherited socket',
    run: (targets) => {
      resultOf(() => call('shutdown', targets.inherited, 0));
      send(targets.inherited, Buffer.from('x'), fastOpen, served(targets));
    },
  },
  'listener-unspec': {
    ids: 'L2-22',
    title: 'connect on an inherited socket after AF_UNSPEC',
    run: (targets) => {
      makeNonBlocking(targets.inherited);
      connect(targets.inherited, Buffer.alloc(16));
      connect(targets.inherited, served(targets));
    },
  },
} as const satisfies Readonly<Record<string, Attempt>>;

export type EgressAttempt = keyof typeof egressAttempts;
