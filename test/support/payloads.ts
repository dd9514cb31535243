/**
 * What an attacker who took over a living role would call, with the role's own descriptors: what ends everything, and
 * what is refused while the role goes on. The time from a deadly call until all children are dead (goal 100 ms) is
 * printed only, and measured against the goal by `test/bench/isolation.ts`.
 * @module
 */
import assert from 'node:assert/strict';
import { readdirSync, readlinkSync } from 'node:fs';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { systemCalls } from '../../src/linux/syscalls.ts';
import type { Argument, Outcome } from './inject.ts';
import { injectWhenIdle } from './inject.ts';
import { addresses } from './namespace.ts';
import type { Server } from './server.ts';
import { alive, call, tree, until } from './server.ts';

/** A sockaddr_in. */
const inet = (port: number, ...address: number[]) =>
  Buffer.from([2, 0, port >> 8, port & 255, ...address, 0, 0, 0, 0, 0, 0, 0, 0]);
const there = inet(9, ...addresses.there.four.split('.').map(Number));
const text = (words: string) => Buffer.from(`${words}\0`);
const fastOpen = 0x20000000;
const message = Buffer.alloc(64);

/** What a payload finds: descriptors of the role, and its neighbours. */
type Here = {
  readonly listener: number;
  readonly accepted: number;
  readonly control: number;
  readonly data: number;
  readonly sibling: number;
  readonly supervisor: number;
};
type Payload = readonly [title: string, name: string, args: (here: Here) => readonly Argument[]];
type Role = 'gateway' | 'engine' | 'watchdog';

const sockets = (role: Role): Payload[] =>
  (
    [
      ['TCP', 2, 1, 0],
      ['UDP', 2, 2, 0],
      ['ICMP', 2, 2, 1],
      ['raw', 2, 3, 255],
      ['SCTP', 2, 1, 132],
      ['MPTCP', 2, 1, 262],
      ['packet', 17, 3, 0x300],
      ['vsock', 40, 1, 0],
      ['netlink', 16, 3, 0],
      ['abstract Unix', 1, 1, 0],
      ['XDP', 44, 3, 0],
    ] as const
  )
    .filter(([kind]) => role === 'gateway' || kind === 'TCP' || kind === 'packet')
    .map(([kind, family, type, protocol]) => [`L2-04 a ${kind} socket`, 'socket', () => [family, type, protocol]]);

const never: readonly Payload[] = [
  ['L2-07 another process', 'clone', () => [17, 0, 0, 0, 0]],
  ['L2-07 a file to execute from', 'memfd_create', () => [text('x'), 0]],
  ['L2-07 a set-user-ID helper', 'execve', () => [text('/usr/bin/su'), 0, 0]],
  ['a debugger on its neighbour', 'ptrace', ({ sibling }) => [16, sibling, 0, 0]],
  ['a user namespace', 'unshare', () => [0x10000000]],
  ['a mount', 'mount', () => [0, 0, 0, 0, 0]],
  ['L6-02 becoming dumpable', 'prctl', () => [4, 1, 0, 0, 0]],
  ['L2-22 a connection by its own channel', 'connect', ({ control }) => [control, there, 16]],
];

/** What ends the role. */
const deadly: Readonly<Record<Role, readonly Payload[]>> = {
  gateway: [
    ...sockets('gateway'),
    ...never,
    ['L2-21 Fast Open on the listener', 'sendto', ({ listener }) => [listener, text('x'), 1, fastOpen, there, 16]],
    [
      'L2-21 Fast Open on an accepted connection',
      'sendto',
      ({ accepted }) => [accepted, text('x'), 1, fastOpen, there, 16],
    ],
    ['L2-22 connect(AF_UNSPEC) on the listener', 'connect', ({ listener }) => [listener, Buffer.alloc(16), 16]],
    [
      'L2-22 connect(AF_UNSPEC) on an accepted connection',
      'connect',
      ({ accepted }) => [accepted, Buffer.alloc(16), 16],
    ],
    ['signals of the listener sent to its neighbour', 'fcntl', ({ listener, sibling }) => [listener, 8, sibling]],
    ['an io_uring', 'io_uring_enter', () => [0, 1, 0, 0, 0, 0]],
  ],
  engine: [...sockets('engine'), ...never, ['a connection of its own', 'accept4', ({ data }) => [data, 0, 0, 0]]],
  watchdog: [
    ...sockets('watchdog'),
    ...never,
    ['a file of its own', 'openat', () => [-100, text('/tmp/kwyre-escape'), 0o101, 0o600]],
    ['the memory of a role, for writing', 'openat', ({ sibling }) => [-100, text(`/proc/${sibling}/mem`), 2, 0]],
  ],
};

/** What is refused, and life goes on. */
const refused = (role: Role): readonly Payload[] => [
  ['L2-04 sendto with an address', 'sendto', ({ listener }) => [listener, text('x'), 1, 0, there, 16]],
  ['L2-04 sendmsg with an address', 'sendmsg', ({ listener }) => [listener, message, 0]],
  ['L2-08 handing a descriptor on', 'sendmsg', ({ control }) => [control, message, 0]],
  ['L2-08 taking a descriptor', 'recvmsg', ({ control }) => [control, message, 0]],
  ['L2-21 shutdown of the reading side', 'shutdown', ({ listener }) => [listener, 0]],
  ['a signal to the supervisor', 'kill', ({ supervisor }) => [supervisor, 9]],
  ['a signal to its neighbour', 'kill', ({ sibling }) => [sibling, 9]],
  ['a signal to a thread of its neighbour', 'tgkill', ({ sibling }) => [sibling, sibling, 9]],
  ['becoming root', 'setuid', () => [0]],
  ['becoming root for good', 'setresuid', () => [0, 0, 0]],
  ['the limits of its neighbour', 'prlimit64', ({ sibling }) => [sibling, 7, Buffer.alloc(16), 0]],
  ['the priority of its neighbour', 'setpriority', ({ sibling }) => [0, sibling, 19]],
  ['the processors of its neighbour', 'sched_setaffinity', ({ sibling }) => [sibling, 8, Buffer.alloc(8, 1)]],
  ['the scheduling of its neighbour', 'sched_setscheduler', ({ sibling }) => [sibling, 5, Buffer.alloc(4)]],
  [
    'a handle on the supervisor by its channel',
    'getsockopt',
    ({ control }) => [control, 1, 77, Buffer.alloc(4), Buffer.from([4, 0, 0, 0])],
  ],
  ['routes of the shared listener', 'setsockopt', ({ listener }) => [listener, 1, 5, Buffer.from([1, 0, 0, 0]), 4]],
  [
    'options of IP on the shared listener',
    'setsockopt',
    ({ listener }) => [listener, 0, 4, Buffer.from([1, 1, 1, 1]), 4],
  ],
  ['waiting on the shared listener', 'setsockopt', ({ listener }) => [listener, 6, 9, Buffer.from([60, 0, 0, 0]), 4]],
  ['congestion on the shared listener', 'setsockopt', ({ listener }) => [listener, 6, 13, text('reno'), 4]],
  ['another number for the listener', 'dup', ({ listener }) => [listener]],
  ['being reached: shared memory', 'shmget', () => [0x6b777972, 4096, 0o1666]],
  ['being reached: a queue', 'mq_open', () => [text('kwyre-hostile'), 0o102, 0o666, 0]],
  ['being reached: a pipe with a name', 'mknod', () => [text('/tmp/kwyre-hostile'), 0o010666, 0]],
  ['the interfaces of the network', 'ioctl', ({ listener }) => [listener, 0x8912, Buffer.alloc(64)]],
  ['a file removed', 'unlink', () => [text('/tmp/kwyre-nothing')]],
  ["a file of another's mode", 'chmod', () => [text('/tmp'), 0o777]],
  ...(role === 'watchdog'
    ? []
    : ([
        ['the memory of its neighbour', 'openat', ({ sibling }) => [-100, text(`/proc/${sibling}/mem`), 0, 0]],
        ['any file', 'openat', () => [-100, text('/etc/passwd'), 0, 0]],
        ['a file in /dev/shm', 'openat', () => [-100, text('/dev/shm/kwyre-escape'), 0o101, 0o600]],
        ['a folder list', 'getdents64', ({ control }) => [control, message, 64]],
      ] satisfies Payload[])),
];

/** Socket descriptors of a process by inode. */
function socketsOf(pid: number): Map<number, string> {
  const found = new Map<number, string>();
  for (const name of readdirSync(`/proc/${pid}/fd`)) {
    try {
      const target = readlinkSync(`/proc/${pid}/fd/${name}`);
      if (target.startsWith('socket:')) found.set(Number(name), target);
    } catch {
      continue; // closed meanwhile
    }
  }
  return found;
}

/** The role's descriptors while a client keeps a connection open. */
async function lookAround(server: Server, role: Role): Promise<{ here: Here; pid: number; client: Socket }> {
  const pids = server.pids();
  const pid = pids[role]!;
  const before = socketsOf(pids['gateway']!);
  const client = connect(server.port, '127.0.0.1');
  client.on('error', () => undefined);
  client.write('GET /kwyre/health HTTP/1.1\r\n');
  const accepted = await until(
    'the connection',
    () => [...socketsOf(pids['gateway']!)].find(([fd, target]) => before.get(fd) !== target)?.[0],
  );
  const gateway = role === 'gateway';
  return {
    pid,
    client,
    here: {
      control: 3,
      data: role === 'watchdog' ? 3 : 4,
      listener: gateway ? 5 : 3,
      accepted: gateway ? accepted : 3,
      sibling: pids[role === 'engine' ? 'gateway' : 'engine']!,
      supervisor: server.pid,
    },
  };
}

/** Lets the process make the payload's call. */
const makes = async (pid: number, here: Here, [, name, args]: Payload): Promise<Outcome> =>
  await injectWhenIdle(pid, systemCalls.x64[name]!, args(here));

const ask = { model: 'guide', max_tokens: 4, messages: [{ role: 'user', content: 'What does layer 2 do?' }] };

/**
 * The tests of all payloads in all living roles, for one form of server; `packets` are those that a capture has seen.
 */
export function attackRoles(form: string, start: () => Promise<Server>, packets: () => readonly string[]): void {
  for (const role of ['gateway', 'engine', 'watchdog'] as const) {
    test(`L2-08 L2-23 ${form}refused inside the living ${role}, which goes on serving`, async (t) => {
      const server = await start();
      t.after(() => {
        server.kill();
      });
      const { here, pid, client } = await lookAround(server, role);
      for (const payload of refused(role))
        assert.deepEqual(await makes(pid, here, payload), { answer: -1 }, payload[0]);
      client.destroy();
      assert.equal((await call(server, '/v1/chat/completions', ask)).status, 200);
      assert.equal((await server.stop()).code, 0, server.output());
      assert.deepEqual(packets(), []);
    });

    for (const payload of deadly[role]) {
      test(`L2-23 ${form}inside the living ${role}: ${payload[0]} ends everything`, async (t) => {
        const server = await start();
        t.after(() => {
          server.kill();
        });
        const { here, pid, client } = await lookAround(server, role);
        const ours = tree(server.pid).filter((one) => one !== server.pid);
        const outcome = await makes(pid, here, payload);
        const from = performance.now();
        assert.deepEqual(outcome, { signal: 31 });
        await until('the children to end', () => !ours.some(alive));
        t.diagnostic(`all children dead ${Math.round(performance.now() - from)} ms after the call`);
        client.destroy();
        assert.equal((await server.ended).code, 16, server.output());
        assert.match(server.output(), /L6_KERNEL_KILL/);
        assert.deepEqual(packets(), []);
      });
    }
  }
}
