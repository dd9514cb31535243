/**
 * The ways out of a process, each tried with system calls of its own: no resolver, no library between.
 *
 * Promise: every target is an address of this machine; a packet that gets out arrives here and nowhere else.
 * Trust:   this is an attacker's code, run by us in a jail; it reports and has no other use.
 * Proof:   test/attacks/2-probe.test.ts
 * @module
 */
import type { WayOut } from '../layers/2-isolation/probe/probe-verdict.ts';
import type { Address } from '../linux/procfs/unused-address.ts';
import { LinuxError } from '../linux/ffi.ts';
import { addressOf, callByName as call } from '../linux/syscalls.ts';
import { closeDescriptor, families, inet6Loopback, inetAddress } from '../linux/sockets/socket.ts';

/** What is aimed at. */
export type Targets = {
  readonly machine: Address;
  readonly closedPort: number;
  /** A port of loopback that somebody listens on. */
  readonly servedPort: number;
  /** A TCP socket that was made outside the jail, as the gateway's listener is. */
  readonly inherited: number;
};

const types = { stream: 1, datagram: 2 } as const;
const fastOpen = 0x20000000;
const setFlags = 4;
const nonBlocking = 0x800;

/** 0, or the kernel's error number. */
export function answerOf(attempt: () => unknown): number {
  try {
    attempt();
    return 0;
  } catch (error) {
    if (error instanceof LinuxError) return error.errno;
    const { errno } = error as NodeJS.ErrnoException;
    if (errno === undefined) throw error;
    return Math.abs(errno);
  }
}

/**
 * Lets nobody wait for a connection that is not answered: one under way is out. What refuses this call refuses no way
 * out.
 */
function bound(fd: number): void {
  answerOf(() => call('fcntl', fd, setFlags, nonBlocking));
}

/** Does something with a socket of its own. @throws LinuxError */
function withSocket(family: number, type: number, protocol: number, act: (fd: number) => unknown): void {
  const fd = call('socket', family, type, protocol);
  try {
    bound(fd);
    act(fd);
  } finally {
    closeDescriptor(fd);
  }
}

const connect = (fd: number, address: Buffer): number => call('connect', fd, addressOf(address), address.length);
const send = (fd: number, bytes: Buffer, flags: number, address: Buffer): number =>
  call('sendto', fd, addressOf(bytes), bytes.length, flags, addressOf(address), address.length);

/** A Unix socket without a path, which nobody listens on: a refused connection means that it could be asked for. */
function abstractAddress(): Buffer {
  return Buffer.concat([Buffer.from([families.unix, 0, 0]), Buffer.from('kwyre-self-probe')]);
}

/** A question for the name `kwyre.invalid`, which no resolver hands on. */
const question = Buffer.from(
  '6b770100000100000000000005 6b77797265 07 696e76616c6964 00 0001 0001'.replaceAll(' ', ''),
  'hex',
);

/** The ways out, each @throws LinuxError when something held it. */
export function waysOutOf({
  machine,
  closedPort,
  servedPort,
  inherited,
}: Targets): Readonly<Record<WayOut, () => void>> {
  const outside = inetAddress([...machine], closedPort);
  const served = inetAddress([127, 0, 0, 1], servedPort);
  return {
    tcp: () => {
      withSocket(families.inet, types.stream, 0, (fd) => connect(fd, outside));
    },
    loopback: () => {
      withSocket(families.inet, types.stream, 0, (fd) => connect(fd, served));
    },
    tcp6: () => {
      withSocket(families.inet6, types.stream, 0, (fd) => connect(fd, inet6Loopback(closedPort)));
    },
    udp: () => {
      withSocket(families.inet, types.datagram, 0, (fd) => send(fd, Buffer.from('x'), 0, outside));
    },
    dns: () => {
      withSocket(families.inet, types.datagram, 0, (fd) => send(fd, question, 0, inetAddress([127, 0, 0, 53], 53)));
    },
    unix: () => {
      withSocket(families.unix, types.stream, 0, (fd) => connect(fd, abstractAddress()));
    },
    'listener-unspec': () => {
      bound(inherited);
      connect(inherited, Buffer.alloc(16));
      connect(inherited, served);
    },
    'listener-fastopen': () => {
      answerOf(() => call('shutdown', inherited, 0));
      send(inherited, Buffer.from('x'), fastOpen, served);
    },
  };
}
