/**
 * Layer 2: attacker code in the place of each role, in its real jail, as root and as an ordinary user would run it.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { attack } from '../support/jail.ts';

const killed = 'SIGSYS';

/** Attempt, ids of threats.md, and what the kernel must answer: a death by SIGSYS, or this error. */
const rows: readonly [attempt: string, ids: string, expected: string, when?: 'started' | 'sealed'][] = [
  ['tcp', 'L2-01 L2-05 L2-11 L2-12 TCP', killed],
  ['tcp6', 'L2-02 IPv6', killed],
  ['udp', 'L2-03 L2-04 UDP and DNS', killed],
  ['raw', 'L2-04 ICMP and raw', killed],
  ['sctp', 'L2-04 SCTP', killed],
  ['mptcp', 'L2-04 Multipath TCP', killed],
  ['packet', 'L2-04 packet socket', killed],
  ['vsock', 'L2-04 vsock', killed],
  ['netlink', 'L2-04 netlink', killed],
  ['unix', 'L2-06 Unix sockets', killed],
  ['socketpair', 'L2-06 socketpair', killed],
  ['io_uring', 'L2-04 io_uring has no ring', 'ENOSYS'],
  ['io_uring_enter', 'L2-04 io_uring enter', killed],
  ['fastopen-listener', 'L2-21 Fast Open on the inherited listener', killed],
  ['fastopen-message', 'L2-21 Fast Open by sendmsg', killed],
  ['shutdown-listener', 'L2-21 shutdown of the reading side', 'EPERM', 'sealed'],
  ['unspec-listener', 'L2-22 connect(AF_UNSPEC) on the inherited listener', killed],
  ['connect-listener', 'L2-22 connect on the inherited listener', killed],
  ['bind-listener', 'L2-22 bind of the inherited listener', killed],
  ['fork', 'L2-07 fork', killed],
  ['vfork', 'L2-07 vfork', killed],
  ['clone-process', 'L2-07 clone of a process', killed],
  ['execve', 'L2-07 another program', killed, 'sealed'],
  ['memfd', 'L2-07 a memory file to execute', killed, 'sealed'],
  ['setuid', 'L2-07 setuid', 'EPERM', 'sealed'],
  ['ptrace', 'ptrace of the supervisor', killed],
  ['read-parent', 'process_vm_readv of the supervisor', killed],
  ['mem-parent', '/proc/PID/mem of the supervisor', 'EACCES'],
  ['signal-parent', 'a signal to the supervisor', 'EPERM'],
  ['unshare', 'a user namespace', killed],
  ['setns', 'another namespace', killed],
  ['mount', 'mount', killed],
  ['bpf', 'bpf', killed],
  ['perf', 'perf_event_open', killed],
  ['userfaultfd', 'userfaultfd', killed],
  ['keyctl', 'kernel keys', killed],
  ['module', 'kernel module', killed],
  ['read-passwd', 'a file outside the plan', 'EACCES'],
  ['read-passwd-pool', 'a file outside the plan, on a pool thread', 'EACCES'],
  ['write-tmp', 'L5-20 a file in /tmp', 'EACCES'],
  ['write-shm', 'L5-20 a file in /dev/shm', 'EACCES'],
  ['write-code', 'its own code', 'EACCES'],
  ['fork-bomb', 'L2-07 a fork bomb', killed],
  ['setuid-helper', 'L2-07 a set-user-ID helper', killed, 'sealed'],
  ['message-address', 'L2-04 sendmsg with an address', 'EPERM', 'sealed'],
  ['message-many', 'L2-21 sendmmsg', killed, 'sealed'],
  ['send-address', 'L2-04 sendto with an address', 'EPERM', 'sealed'],
  ['pass-descriptor', 'L2-08 handing a descriptor on', 'EPERM', 'sealed'],
  ['take-descriptor', 'L2-08 taking a descriptor', 'EPERM', 'sealed'],
  ['own-signals', 'F_SETOWN on the inherited listener', killed, 'sealed'],
  ['own-signals-any', 'F_SETSIG', killed, 'sealed'],
  ['own-signals-ex', 'F_SETOWN_EX', killed, 'sealed'],
  ['own-signals-ioctl', 'FIOSETOWN', killed, 'sealed'],
  ['own-signals-group', 'SIOCSPGRP', killed, 'sealed'],
  ['interfaces', 'the list of network interfaces', 'EPERM', 'sealed'],
  ['socket-option', 'a protocol below the listener (TCP_ULP)', 'EPERM', 'sealed'],
  ['dumpable', 'L6-02 becoming dumpable again', killed, 'sealed'],
  ['let-debugger-in', 'L6-02 letting a debugger in (PR_SET_PTRACER)', killed, 'sealed'],
  ['outlive', 'L6-09 outliving the supervisor', killed, 'sealed'],
  ['subreaper', 'becoming a reaper of processes', 'EPERM', 'sealed'],
  ['limit-parent', 'the limits of the supervisor', 'EPERM', 'sealed'],
  ['signal-thread', 'a signal to a thread of the supervisor', 'EPERM'],
  ['signal-queue', 'a queued signal to the supervisor', 'EPERM'],
  ['mem-parent-write', 'writing the memory of the supervisor', 'EACCES'],
  ['grow-file', 'writing through /proc/self/fd', 'EPERM', 'sealed'],
  ['handle', 'opening by handle', killed],
  ['kernel-log', 'the log of the kernel', 'EPERM', 'sealed'],
  ['ipc', 'shared memory of System V', 'EPERM', 'sealed'],
  ['queue', 'a message queue', 'EPERM', 'sealed'],
  ['x32', 'a call of the x32 table', killed],
  ['inspector', 'L6-06 opening the inspector', killed, 'started'],
  ['accept', 'being reached: accept on the inherited listener', killed],
  ['fifo', 'being reached: a pipe with a name', 'EACCES'],
  ['pty', 'being reached: a terminal of its own', 'EACCES'],
  ['add-key', 'being reached: a key that others read', killed],
  ['32-bit', 'L2-04 a socket by the table of 32-bit programs', killed],
  ['other-thread', 'L2-07 a memory file on a thread of the pool: the seal is on every thread', killed, 'sealed'],
  ['own-filter', 'a filter of its own, after the seal', killed, 'sealed'],
  ['own-descriptors', 'a thread with descriptors of its own', killed],
  ['options', 'options of the shared listener, which outlive the role', 'ok', 'sealed'],
  ['peer-pidfd', 'a handle on the supervisor by SO_PEERPIDFD', 'EPERM', 'sealed'],
  ['slow-parent', 'the priority of the supervisor', 'EPERM', 'sealed'],
  ['is-not-dumpable', 'L6-02 it is not dumpable once it is sealed', 'ok', 'sealed'],
  ['dies-with-parent', 'L6-09 the kernel ends it with the supervisor', 'ok', 'started'],
  ['its-limits', 'its limits: no core image, no file that grows, few descriptors', 'ok', 'started'],
  ['system-files', 'the files of the system that it may read, and no other', 'ok', 'started'],
  ['secret-memory', 'secret memory for the engine alone', 'ok', 'started'],
  ['image', 'the image of the role has its flags and its environment', 'ok', 'started'],
  ['only-its-descriptors', 'L2-08 no descriptor but its own comes through', 'ok', 'started'],
];

/** What one role may do and the other may not. */
const differing: readonly [attempt: string, ids: string, expected: Readonly<Record<'gateway' | 'engine', string>>][] = [
  [
    'listen',
    'being reached: listen, which for the gateway is answered and not made',
    { gateway: 'ok', engine: killed },
  ],
  ['accept4', 'being reached: accept4', { gateway: 'EWOULDBLOCK', engine: killed }],
];

/** Both moments of a role's life, under different users when root runs this. */
const asRoot = process.getuid?.() === 0;
const lives = [
  { mode: 'started', uid: undefined, who: asRoot ? 'root without capabilities' : 'an ordinary user' },
  { mode: 'sealed', uid: asRoot ? 12345 : undefined, who: asRoot ? 'a user of its own' : 'an ordinary user, sealed' },
] as const;

for (const role of ['gateway', 'engine'] as const) {
  test(`the bounding set of the ${role} and all its capabilities are empty`, async (t) => {
    if (!asRoot) {
      t.diagnostic('an ordinary user cannot empty it, and gains nothing by it: no_new_privs');
      return;
    }
    for (const uid of [undefined, 12345])
      assert.equal((await attack(role, 'started', 'no-bounding-set', uid)).answer, 'ok');
  });
  test(`the ${role} runs as the user that it was given, in all places`, async (t) => {
    if (!asRoot) {
      t.diagnostic('an ordinary user keeps the own one');
      return;
    }
    assert.equal((await attack(role, 'started', 'its-user', 12345)).answer, 'ok');
  });
  for (const { mode, uid, who } of lives) {
    for (const [attempt, ids, expected] of differing) {
      test(`${ids}: the ${role} as ${who}`, async () => {
        const { answer, signal } = await attack(role, mode, attempt, uid);
        assert.equal(signal ?? answer, expected[role]);
      });
    }
  }
  for (const life of lives) {
    for (const [attempt, ids, expected, when] of rows) {
      test(`${ids}: refused to the ${role} as ${life.who}`, async () => {
        const mode = when ?? life.mode;
        const verdict = await attack(role, mode, attempt, life.uid);
        // A sealed role may no longer open any file at all: the filter answers before Landlock does.
        const refusals = mode === 'sealed' && expected === 'EACCES' ? ['EACCES', 'EPERM'] : [expected];
        if (expected === killed) assert.equal(verdict.signal, killed, `got ${verdict.answer || String(verdict.code)}`);
        else assert.ok(refusals.includes(verdict.answer), `got ${verdict.answer || String(verdict.signal)}`);
      });
    }
  }
}
