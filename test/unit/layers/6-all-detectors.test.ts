/**
 * Every detector as a table: what it finds in a made-up snapshot, and what it says when it cannot see.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { detectCapture } from '../../../src/layers/6-intrusion/detectors/packet-capture.ts';
import { detectGap, measureGap } from '../../../src/layers/6-intrusion/detectors/lost-time.ts';
import { detectAll } from '../../../src/layers/6-intrusion/detectors/all-detectors.ts';
import { detectorIds } from '../../../src/base/detection.ts';
import type { Detection } from '../../../src/layers/6-intrusion/finding.ts';
import { detectInspector } from '../../../src/layers/6-intrusion/detectors/inspector.ts';
import { detectMappings } from '../../../src/layers/6-intrusion/detectors/code-mappings.ts';
import {
  detectChildren,
  detectMemory,
  detectTools,
} from '../../../src/layers/6-intrusion/detectors/foreign-processes.ts';
import type {
  ProcessState,
  Snapshot,
  Target,
  TargetState,
  WatchedRole,
} from '../../../src/layers/6-intrusion/scan-result.ts';
import { detectSockets } from '../../../src/layers/6-intrusion/detectors/undeclared-sockets.ts';
import { detectJail, detectStopped, detectTracer } from '../../../src/layers/6-intrusion/detectors/ptrace.ts';
import { detectAllWeights, detectWeights } from '../../../src/layers/6-intrusion/detectors/weights-file.ts';
import type { SocketRow } from '../../../src/linux/procfs/net-tables.ts';

const target = (role: WatchedRole, pid: number, more: Partial<Target> = {}): Target => ({
  role,
  pid,
  sealed: true,
  namespace: 'shared',
  sockets: [1, 2],
  ...more,
});
const status = {
  state: 'S',
  tracer: 0,
  uids: [9, 9, 9, 9],
  effectiveCapabilities: 0n,
  caughtSignals: 0n,
  noNewPrivs: true,
  seccomp: 2,
  slots: 64,
};
const state = (of: Target, more: Partial<TargetState> = {}): TargetState => ({
  target: of,
  status: { value: status },
  threads: {
    value: [
      { tid: of.pid, state: 'S', tracer: 0 },
      { tid: of.pid + 1, state: 'S', tracer: 0 },
    ],
  },
  sockets: { value: [1, 2] },
  namespaceSockets: { missing: 'not-due' },
  namespaceRows: [],
  mappings: { value: [{ path: '/usr/lib/libc.so.6', device: 1, inode: 1 }] },
  frozen: { value: false },
  ...more,
});
const neighbour = (more: Partial<ProcessState> = {}): ProcessState => ({
  pid: 500,
  parent: 1,
  uid: 77,
  privileged: false,
  name: 'x',
  argv: ['x'],
  executable: '',
  opened: { value: [] },
  captures: [],
  ...more,
});
const row = (more: Partial<SocketRow>): SocketRow => ({
  table: 'tcp',
  inode: 3,
  uid: 0,
  state: 1,
  local: '',
  remote: '',
  protocol: 0,
  interface: 0,
  ...more,
});
const listenerRow = row({ inode: 2, state: 10, local: '0100007F:1F40', remote: '00000000:0000' });
function snapshot(
  more: Partial<Snapshot> = {},
  states = [state(target('gateway', 10)), state(target('engine', 20))],
): Snapshot {
  return {
    clocks: { monotonic: 10_000, boot: 10_000, runnable: 0 },
    before: { monotonic: 5000, boot: 5000, runnable: 0 },
    intervalMs: 5000,
    watched: {
      targets: states.map((one) => one.target),
      port: 8000,
      listener: 2,
      networks: [1],
      unixPath: '/run/k.sock',
      code: ['/usr/lib', '/opt/kwyre'],
      memory: ['1:77'],
    },
    targets: states,
    processes: { value: [neighbour()] },
    othersListed: true,
    overdue: { processes: 0, oldestMs: 0 },
    ownUid: 9,
    rows: { value: [listenerRow] },
    tablesRead: true,
    taps: {
      value: [
        { protocol: 0x0800, device: '', reader: 'ip_rcv' },
        { protocol: 3, device: 'lo', reader: 'packet_rcv' },
        { protocol: 0x0806, device: '', reader: 'arp_rcv' },
      ],
    },
    unixKnown: true,
    knownCode: new Set(),
    ...more,
  };
}
const one = (role: WatchedRole, more: Partial<TargetState>, of: Partial<Target> = {}) => [
  state(target(role, 20, of), more),
];
const found = (detection: Detection) => detection.findings.length;

test('a quiet machine: every detector sees everything and finds nothing', () => {
  const all = detectAll(snapshot());
  for (const detection of all)
    assert.deepEqual([detection.detector, detection.seen, found(detection)], [detection.detector, 'full', 0]);
  assert.equal(new Set(all.map((detection) => detection.detector)).size, all.length);
  for (const { detector } of all) assert.ok(detectorIds.includes(detector));
});

test('L6-01 L6-05 a tracer of any thread, with its name and user when the list shows it', () => {
  const traced = one('engine', {
    threads: {
      value: [
        { tid: 20, state: 'S', tracer: 0 },
        { tid: 21, state: 't', tracer: 500 },
      ],
    },
  });
  const { findings } = detectTracer(
    snapshot({ processes: { value: [neighbour({ executable: '/tmp/notepad\n', uid: 0 })] } }, traced),
  );
  assert.deepEqual(
    findings.map(({ pid, uid, name, relation }) => ({ pid, uid, name, relation })),
    [{ pid: 500, uid: 0, name: 'notepad?', relation: 'effect' }],
  );
  assert.equal(
    found(detectTracer(snapshot({ processes: { missing: 'denied' } }, traced))),
    1,
    'also when the list is hidden',
  );
  assert.equal(found(detectStopped(snapshot({}, traced))), 1);
});

test('L6-07 stopped by a signal, frozen by a control group', () => {
  assert.equal(
    found(detectStopped(snapshot({}, one('engine', { threads: { value: [{ tid: 20, state: 'T', tracer: 0 }] } })))),
    1,
  );
  assert.equal(found(detectStopped(snapshot({}, one('engine', { frozen: { value: true } })))), 1);
  for (const resting of ['S', 'R', 'D', 'I', 'Z'])
    assert.equal(
      found(
        detectStopped(snapshot({}, one('engine', { threads: { value: [{ tid: 20, state: resting, tracer: 0 }] } }))),
      ),
      0,
    );
});

test('a sealed role without its filter; one that is not sealed yet, or gone, is none', () => {
  assert.equal(found(detectJail(snapshot({}, one('engine', { status: { value: { ...status, seccomp: 0 } } })))), 1);
  assert.equal(
    found(detectJail(snapshot({}, one('engine', { status: { value: { ...status, noNewPrivs: false } } })))),
    1,
  );
  assert.equal(
    found(detectJail(snapshot({}, one('engine', { status: { value: { ...status, seccomp: 0 } } }, { sealed: false })))),
    0,
  );
  const gone = detectJail(snapshot({}, one('engine', { status: { missing: 'gone' }, threads: { missing: 'gone' } })));
  assert.deepEqual([gone.seen, found(gone)], ['full', 0]);
});

test('L6-15 states that everybody may read and that we cannot: unreadable, never clean', () => {
  for (const missing of ['denied', 'failed'] as const)
    assert.equal(detectTracer(snapshot({}, one('engine', { threads: { missing } }))).seen, 'unreadable');
  assert.equal(detectTools(snapshot({ processes: { missing: 'denied' } })).seen, 'unreadable');
  assert.equal(detectTools(snapshot({ othersListed: false })).seen, 'unreadable');
  assert.equal(detectSockets(snapshot({ rows: { missing: 'denied' } })).seen, 'unreadable');
  assert.equal(detectCapture(snapshot({ rows: { missing: 'failed' } })).seen, 'unreadable');
  // Tables of connections too long to be read: no socket is judged by them, and a capture is seen all the same.
  const long = { tablesRead: false, rows: { value: [row({ table: 'packet', protocol: 3 })] } };
  const unjudged = detectSockets(snapshot(long, one('gateway', { sockets: { value: [1, 2, 9] } })));
  assert.deepEqual([unjudged.seen, found(unjudged)], ['unreadable', 0]);
  assert.equal(detectInspector(snapshot(long)).seen, 'unreadable');
  assert.deepEqual([detectCapture(snapshot(long)).seen, found(detectCapture(snapshot(long)))], ['full', 1]);
  assert.equal(
    detectSockets(snapshot({}, one('engine', { namespaceSockets: { missing: 'failed' } }, { namespace: 'own' }))).seen,
    'unreadable',
  );
});

test('L6-06 an inspector: a second listener, or a handler for SIGUSR1', () => {
  const second = snapshot(
    { rows: { value: [listenerRow, row({ inode: 9, state: 10, local: '0100007F:240D' })] } },
    one('engine', { sockets: { value: [1, 2, 9] } }),
  );
  assert.equal(found(detectInspector(second)), 1);
  assert.equal(
    found(detectInspector(snapshot({}, one('engine', { status: { value: { ...status, caughtSignals: 1n << 9n } } })))),
    1,
  );
  assert.equal(
    found(
      detectInspector(
        snapshot({}, one('engine', { status: { value: { ...status, caughtSignals: (1n << 14n) | (1n << 1n) } } })),
      ),
    ),
    0,
  );
});

const strangers: readonly (readonly [string, SocketRow | undefined])[] = [
  ['a connection that was made, not accepted', row({ inode: 9, local: '0100007F:C350', remote: '0100007F:1F40' })],
  ['SYN_SENT', row({ inode: 9, state: 2, local: '0A000001:C350', remote: '08080808:01BB' })],
  ['a served port with a far peer', row({ inode: 9, local: '0100007F:1F40', remote: '08080808:01BB' })],
  ['tcp6', row({ table: 'tcp6', inode: 9 })],
  ['udp', row({ table: 'udp', inode: 9, state: 7 })],
  ['udp6', row({ table: 'udp6', inode: 9, state: 7 })],
  ['raw', row({ table: 'raw', inode: 9, protocol: 255 })],
  ['icmp', row({ table: 'icmp', inode: 9 })],
  ['packet', row({ table: 'packet', inode: 9, protocol: 0x888e })],
  ['netlink', row({ table: 'netlink', inode: 9 })],
  ['unix, to the session bus', row({ table: 'unix', inode: 9, state: 3 })],
  ['in no table at all', undefined],
];
for (const [what, stranger] of strangers) {
  test(`L6-12 an undeclared socket: ${what}`, () => {
    const rows = { value: stranger === undefined ? [listenerRow] : [listenerRow, stranger] };
    for (const role of ['supervisor', 'gateway', 'engine', 'watchdog'] as const)
      assert.equal(found(detectSockets(snapshot({ rows }, one(role, { sockets: { value: [1, 2, 9] } })))), 1, role);
  });
}

test('L6-11 what the gateway serves is declared, in every state; the same socket in the engine is not', () => {
  for (const served of [
    row({ inode: 9, local: '0100007F:1F40', remote: '0100007F:C350' }),
    row({ inode: 9, local: '0100007F:1F40', remote: '0200007F:C350' }),
    row({ inode: 9, state: 8, local: '0100007F:1F40', remote: '0100007F:C350' }),
    row({ table: 'unix', inode: 9, state: 3, local: '/run/k.sock' }),
  ]) {
    const rows = { value: [listenerRow, served] };
    assert.equal(found(detectSockets(snapshot({ rows }, one('gateway', { sockets: { value: [1, 2, 9] } })))), 0);
    assert.equal(found(detectSockets(snapshot({ rows }, one('engine', { sockets: { value: [1, 2, 9] } })))), 1);
  }
});

test('L2-21 the inherited listener turned into a connection', () => {
  for (const changed of [
    row({ inode: 2, state: 1, local: '0100007F:1F40', remote: '0100007F:1F90' }),
    row({ inode: 2, state: 2 }),
    row({ inode: 2, state: 10, local: '00000000:1F40' }),
  ]) {
    assert.equal(found(detectSockets(snapshot({ rows: { value: [changed] } }, one('gateway', {})))), 1);
  }
});

test('any socket in an empty network, also of no table', () => {
  assert.equal(
    found(detectSockets(snapshot({}, one('engine', { namespaceSockets: { value: 1 } }, { namespace: 'own' })))),
    1,
  );
  assert.equal(
    found(detectSockets(snapshot({}, one('engine', { namespaceSockets: { value: 0 } }, { namespace: 'own' })))),
    0,
  );
});

test('L6-24 hidden descriptors: not available, or self-reported, and a report is judged like a look', () => {
  const hidden = { sockets: { missing: 'denied' } } as const;
  assert.equal(detectSockets(snapshot({}, one('engine', hidden))).seen, 'not-available');
  const reported = detectSockets(snapshot({}, one('engine', hidden, { reported: [1, 9] })));
  assert.deepEqual([reported.seen, found(reported)], ['self-reported', 1]);
});

test("L6-02 our memory held open is an effect, whoever has it: that it is ours is the kernel's word", () => {
  const holder = (more: Partial<ProcessState>) =>
    detectMemory(snapshot({ processes: { value: [neighbour({ opened: { value: [20] }, ...more })] } }));
  assert.equal(holder({ uid: 0 }).findings[0]?.relation, 'effect');
  assert.equal(holder({ uid: 9 }).findings[0]?.relation, 'effect');
  assert.equal(holder({ privileged: true }).findings[0]?.relation, 'effect');
  assert.equal(holder({}).findings[0]?.relation, 'effect', 'opened by root, who then gave up his rights');
  assert.equal(
    detectMemory(snapshot({ processes: { value: [neighbour({ uid: 0, opened: { missing: 'denied' } })] } })).seen,
    'not-available',
  );
  assert.equal(
    detectMemory(snapshot({ processes: { value: [neighbour({ opened: { missing: 'denied' } })] } })).seen,
    'full',
    'a stranger could not open it anyway',
  );
});

const captures: readonly (readonly [string, SocketRow, number])[] = [
  ['all protocols on lo', row({ table: 'packet', protocol: 3, interface: 1 }), 1],
  ['all protocols on every interface', row({ table: 'packet', protocol: 3, interface: 0 }), 1],
  ['all protocols on another interface (dhclient)', row({ table: 'packet', protocol: 3, interface: 2 }), 0],
  ['Wi-Fi keys on every interface', row({ table: 'packet', protocol: 0x888e, interface: 0 }), 0],
  ['IPv4 on another interface (NetworkManager)', row({ table: 'packet', protocol: 0x0800, interface: 2 }), 0],
  ['IPv4 on lo', row({ table: 'packet', protocol: 0x0800, interface: 1 }), 1],
  ['IPv4 on every interface', row({ table: 'packet', protocol: 0x0800, interface: 0 }), 1],
  ['IPv6 on every interface', row({ table: 'packet', protocol: 0x86dd, interface: 0 }), 1],
  ['ARP on every interface', row({ table: 'packet', protocol: 0x0806, interface: 0 }), 0],
  ['IPv6 on lo', row({ table: 'packet', protocol: 0x86dd, interface: 1 }), 1],
  ['a socket that has no protocol yet', row({ table: 'packet', protocol: 0, interface: 0 }), 0],
  ['raw TCP', row({ table: 'raw', protocol: 6 }), 1],
  ['raw TCP over IPv6', row({ table: 'raw6', protocol: 6 }), 1],
  ['raw ICMP (ping)', row({ table: 'raw', protocol: 1 }), 0],
  ['raw for sending only (nmap)', row({ table: 'raw', protocol: 255 }), 0],
];
for (const [what, socket, count] of captures) {
  test(`L6-13 L6-22 ${what}: ${count === 1 ? 'a capture' : 'none'}`, () => {
    assert.equal(found(detectCapture(snapshot({ rows: { value: [socket] } }))), count);
  });
}

test('L6-13 a module of the kernel that gets every packet, or those of the loopback interface', () => {
  const tapped = (protocol: number, device: string, reader: string) =>
    found(detectCapture(snapshot({ taps: { value: [{ protocol, device, reader }] } })));
  assert.deepEqual(
    [
      tapped(3, '', 'pf_ring_rcv'),
      tapped(0x0800, 'lo', 'other_rcv'),
      tapped(3, 'wire0', 'vboxNetFltLinuxPacketHandler'),
      tapped(0x88cc, '', 'lldp_rcv'),
      tapped(3, '', ''),
    ],
    [1, 1, 0, 0, 0],
  );
  assert.equal(detectCapture(snapshot({ taps: { missing: 'denied' } })).seen, 'unreadable');
});

test('what a scan had no time for is said, and spoils the sight when it lasts', () => {
  const late = (oldestMs: number) => detectMemory(snapshot({ overdue: { processes: 7, oldestMs } }));
  assert.deepEqual([late(10_000).seen, late(31_000).seen], ['full', 'unreadable']);
  assert.match(late(10_000).reason, /^7 processes are waiting to be read, the first of them for 10 s$/);
});

test('a process that only calls itself a tool is shown and not acted on, whoever owns it', () => {
  const { findings } = detectTools(
    snapshot({
      processes: { value: [neighbour({ uid: 0, name: 'gdb', argv: ['gdb'], executable: '/usr/bin/sleep' })] },
    }),
  );
  assert.deepEqual(
    findings.map(({ relation, tool }) => [relation, tool]),
    [['stranger', 'gdb']],
  );
});

test("L6-11 where the kernel tells nothing about Unix sockets, the gateway's are not taken for strangers', and that is said", () => {
  const blind = { rows: { value: [listenerRow] }, unixKnown: false };
  const judged = detectSockets(snapshot(blind, one('gateway', { sockets: { value: [1, 2, 9] } })));
  assert.deepEqual([judged.seen, found(judged)], ['unreadable', 0]);
  assert.equal(found(detectSockets(snapshot(blind, one('engine', { sockets: { value: [1, 2, 9] } })))), 1);
});

test('a named tool by its owner: root, the same user and CAP_SYS_PTRACE could look into us', () => {
  const relation = (more: Partial<ProcessState>) =>
    detectTools(snapshot({ processes: { value: [neighbour({ name: 'gdb', argv: ['gdb'], ...more })] } })).findings[0]
      ?.relation;
  assert.deepEqual(
    [relation({ uid: 0 }), relation({ uid: 9 }), relation({ privileged: true }), relation({})],
    ['able', 'able', 'able', 'stranger'],
  );
});

test("a child of a role; the supervisor's children are its own business", () => {
  assert.equal(found(detectChildren(snapshot({ processes: { value: [neighbour({ parent: 20 })] } }))), 1);
  assert.equal(
    found(detectChildren(snapshot({ processes: { value: [neighbour({ parent: 20 })] } }, one('supervisor', {})))),
    0,
  );
});

test('code from elsewhere', () => {
  const mapped = (path: string) =>
    detectMappings(snapshot({}, one('engine', { mappings: { value: [{ path, device: 1, inode: 1 }] } })));
  for (const path of [
    '/tmp/evil.so',
    '/memfd:evil (deleted)',
    '/usr/lib/libc.so.6 (deleted)',
    '/usr/library/x.so',
    '/opt/kwyre-not/x',
  ])
    assert.equal(found(mapped(path)), 1, path);
  for (const path of ['/usr/lib/x/libc.so', '/opt/kwyre/node']) assert.equal(found(mapped(path)), 0, path);
  assert.equal(detectMappings(snapshot({}, one('engine', { mappings: { missing: 'denied' } }))).seen, 'not-available');
});

test('sealed memory is known by what identifies it, not by a name that anybody can give', () => {
  const memory = (device: number, inode: number) =>
    detectMappings(
      snapshot({}, one('engine', { mappings: { value: [{ path: '/memfd:kwyre-node (deleted)', device, inode }] } })),
    );
  assert.equal(found(memory(1, 77)), 0);
  assert.equal(found(memory(1, 78)), 1, 'of the same name');
  assert.equal(found(memory(2, 77)), 1, 'of another device');
});

test('a file that was replaced on the disk since it was mapped is no foreign code; it is told', () => {
  const mapped = (inode: number) =>
    detectMappings(
      snapshot(
        { knownCode: new Set(['65024 7']) },
        one('engine', { mappings: { value: [{ path: '/usr/lib/libc.so.6 (deleted)', device: 0xfe00, inode }] } }),
      ),
    ).findings.map(({ relation }) => relation);
  assert.deepEqual([mapped(7), mapped(8)], [['stranger'], ['effect']]);
});

const gaps: readonly (readonly [string, number, number, boolean, number?])[] = [
  ['on time', 5000, 5000, false],
  ['late on a busy machine', 8500, 8500, false],
  ['stopped for half a minute', 35_000, 35_000, true],
  ['half a minute late, but for want of a processor', 35_000, 35_000, false, 28_000],
  ['half a minute late, and some seconds of it for want of a processor', 35_000, 35_000, true, 20_000],
  ['L6-23 the lid closed for an hour: one clock stood still', 5100, 3_605_100, false],
  ['L6-23 the lid closed, and a slow return', 12_000, 3_612_000, false],
];
for (const [what, monotonic, boot, stopped, runnable = 0] of gaps) {
  test(`L6-07 a gap: ${what}`, () => {
    const before = { monotonic: 1000, boot: 2000, runnable: 500 };
    const now = { monotonic: 1000 + monotonic, boot: 2000 + boot, runnable: 500 + runnable };
    assert.equal(measureGap(before, now, 5000).stopped, stopped);
    assert.equal(found(detectGap(before, now, 5000, { role: 'watchdog', pid: 1, uid: 0 })), stopped ? 1 : 0);
    assert.equal(found(detectGap(undefined, now, 5000, { role: 'watchdog', pid: 1, uid: 0 })), 0);
  });
}

test("the model's file: written to, put back, linked, gone", () => {
  const loaded = { size: 10n, modifiedNs: 5n, changedNs: 5n, leased: true };
  const judge = (now: typeof loaded | undefined) => detectWeights(loaded, now, { pid: 1, uid: 0 });
  assert.deepEqual(judge(loaded).findings, []);
  assert.equal(judge({ ...loaded, modifiedNs: 6n }).findings[0]?.relation, 'effect');
  assert.equal(judge({ ...loaded, size: 11n }).findings[0]?.relation, 'effect');
  assert.equal(judge({ ...loaded, changedNs: 6n }).findings[0]?.relation, 'stranger');
  assert.equal(judge({ ...loaded, leased: false }).findings[0]?.relation, 'effect');
  assert.equal(judge(undefined).seen, 'unreadable');
});

test('L4-09 a model in several files: each is looked at, and one that cannot be spoils the sight', () => {
  const stamp = { size: 1n, modifiedNs: 1n, changedNs: 1n, leased: false };
  const judge = (...now: (typeof stamp | undefined)[]) => detectAllWeights([stamp, stamp], now, { pid: 1, uid: 0 });
  assert.deepEqual([judge(stamp, stamp).seen, judge(stamp, stamp).findings.length], ['full', 0]);
  assert.equal(judge(stamp, { ...stamp, modifiedNs: 2n }).findings.length, 1);
  assert.equal(judge(stamp, undefined).seen, 'unreadable');
  assert.equal(detectAllWeights([undefined], [stamp], { pid: 1, uid: 0 }).seen, 'unreadable');
});
