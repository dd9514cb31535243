/**
 * What a scan reads, and when, over a made-up /proc that counts every look.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { detectMappings } from '../../../src/layers/6-intrusion/detectors/code-mappings.ts';
import { seen } from '../../../src/layers/6-intrusion/scan-result.ts';
import type { Watched } from '../../../src/layers/6-intrusion/scan-result.ts';
import type { ProcReader, ProcResult } from '../../../src/linux/procfs/proc-reader.ts';
import { ProcessTable } from '../../../src/watchdog/process-table.ts';
import { detectSockets } from '../../../src/layers/6-intrusion/detectors/undeclared-sockets.ts';
import { MemoryDescriptors } from '../../../src/watchdog/memory-descriptors.ts';
import { Scanner } from '../../../src/watchdog/scan.ts';
import { SocketCache } from '../../../src/watchdog/own-processes.ts';

type Entry =
  string | readonly string[] | { readonly link: string } | { readonly denied: true } | { readonly inode: number };

/** The mount of /proc. */
const procMount = 21;

/** A /proc made of a table; denied entries refuse, absent ones are gone. */
class FakeProc {
  readonly entries = new Map<string, Entry>();
  looks = 0;
  readonly eyes: ProcReader = {
    read: (path) => this.#look(path, (entry) => (typeof entry === 'string' ? entry : undefined)),
    readLong: (path) => this.#look(path, (entry) => (typeof entry === 'string' ? entry : undefined)),
    list: (path) => this.#look(path, (entry) => (Array.isArray(entry) ? [...(entry as readonly string[])] : undefined)),
    link: (path) =>
      this.#look(path, (entry) => (typeof entry === 'object' && 'link' in entry ? entry.link : undefined)),
    readHead: (path) => this.#look(path, (entry) => (typeof entry === 'string' ? entry.slice(0, 4096) : undefined)),
    count: (path) => this.#look(path, (entry) => (Array.isArray(entry) ? entry.length : undefined)),
    inode: (path) =>
      this.#look(path, (entry) => (typeof entry === 'object' && 'inode' in entry ? entry.inode : undefined)),
    mount: (path) => this.#look(path, () => procMount),
  };

  #look<T>(path: string, take: (entry: Entry) => T | undefined): ProcResult<T> {
    this.looks += 1;
    const entry = this.entries.get(path);
    if (typeof entry === 'object' && 'denied' in entry) return { missing: 'denied' };
    const value = entry === undefined ? undefined : take(entry);
    return value === undefined ? { missing: 'gone' } : { value };
  }

  process(
    pid: number,
    name: string,
    more: {
      uid?: number;
      capabilities?: string;
      map?: string;
      fds?: Readonly<Record<string, string>>;
      started?: number;
      argv?: readonly string[];
      uids?: string;
      state?: string;
      threads?: number;
    } = {},
  ): void {
    const uids = more.uids ?? Array.from({ length: 4 }, () => String(more.uid ?? 77)).join('\t');
    this.entries.set(
      `/proc/${pid}/stat`,
      `${pid} (${name}) ${more.state ?? 'S'} 1 1 1 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 ${more.threads ?? 1} 0 ${more.started ?? 100} 0 0`,
    );
    this.entries.set(
      `/proc/${pid}/status`,
      `Name:\t${name}\nState:\tS (sleeping)\nTracerPid:\t0\nUid:\t${uids}\nCapEff:\t${more.capabilities ?? '0000000000000000'}\nSigCgt:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n`,
    );
    this.entries.set(`/proc/${pid}/cmdline`, `${(more.argv ?? [name]).join('\0')}\0`);
    this.entries.set(`/proc/${pid}/exe`, { link: `/usr/bin/${name}` });
    this.entries.set(`/proc/${pid}/uid_map`, more.map ?? '         0          0 4294967295\n');
    this.descriptors(pid, more.fds ?? {});
    this.list();
  }

  descriptors(pid: number, fds: Readonly<Record<string, string>>): void {
    this.entries.set(`/proc/${pid}/fd`, Object.keys(fds));
    for (const [fd, link] of Object.entries(fds)) {
      this.entries.set(`/proc/${pid}/fd/${fd}`, { link });
      this.entries.set(
        `/proc/${pid}/fdinfo/${fd}`,
        `pos:\t0\nflags:\t0100000\nmnt_id:\t${link.startsWith('/proc/') ? procMount : 35}\nino:\t7\n`,
      );
    }
  }

  list(): void {
    this.entries.set('/proc/uptime', '1 1\n');
    this.entries.set('/proc/self/uid_map', '         0          0 4294967295\n');
    const pids = [...this.entries.keys()]
      .map((path) => /^\/proc\/(\d+)\/stat$/.exec(path)?.[1])
      .filter((pid) => pid !== undefined);
    this.entries.set('/proc', ['self', 'meminfo', ...pids]);
  }
}

const none: ReadonlySet<number> = new Set();
/** A census of a scan each five seconds, or as told. */
function censusOf(proc: FakeProc, clock = () => 0) {
  const census = new ProcessTable(proc.eyes, new MemoryDescriptors(proc.eyes), 0, clock);
  return {
    census,
    take: (at: number, intervalMs = 5000, ours = none, everything = false) =>
      census.take(at, { intervalMs, ownPids: ours, everything }),
  };
}
const samplerPowers = { askUnix: undefined, protocolName: () => undefined, now: () => 0 };

test('a settled process costs one look in its turn; a renamed one is read whole', () => {
  const proc = new FakeProc();
  proc.process(1, 'init', { uid: 0 });
  const { take } = censusOf(proc);
  for (let at = 0; at <= 200_000; at += 5000) take(at, 5000);
  proc.looks = 0;
  for (let at = 205_000; at < 225_000; at += 5000) take(at, 5000);
  assert.ok(proc.looks <= 4 + 4 * 2 + 5, `${proc.looks} looks in four scans`);
  proc.process(1, 'gdb', { uid: 0 });
  for (let at = 225_000; at <= 235_000; at += 5000) take(at, 5000);
  assert.deepEqual(seen(take(240_000, 5000))?.[0]?.argv, ['gdb']);
});

test('at 250 ms every process is still looked at within five seconds, and no scan looks at all', () => {
  const proc = new FakeProc();
  proc.process(1, 'init', { uid: 0 });
  for (let pid = 100; pid < 300; pid += 1) proc.process(pid, 'x');
  const { take } = censusOf(proc);
  let at = 0;
  for (; at <= 20_000; at += 250) take(at, 250);
  let most = 0;
  for (; at <= 30_000; at += 250) {
    proc.looks = 0;
    take(at, 250);
    most = Math.max(most, proc.looks);
  }
  assert.ok(most < 120, `${most} looks in one scan`);
  for (let pid = 100; pid < 300; pid += 1) proc.process(pid, 'gdb');
  const end = at + 5250;
  for (; at <= end; at += 250) take(at, 250);
  assert.equal(seen(take(at, 250))?.filter((process) => process.name === 'gdb').length, 200);
});

test('L6-08 a crowd of new processes: a scan ends in its time, says what it left, and the next one begins with that', () => {
  const proc = new FakeProc();
  proc.process(1, 'init', { uid: 0 });
  for (let pid = 1000; pid < 2000; pid += 1) proc.process(pid, 'crowd');
  // One look takes a millisecond.
  const { census, take } = censusOf(proc, () => proc.looks);
  take(0, 250);
  const first = census.overdue.processes;
  assert.ok(first > 100 && first < 1000, `${first} are left by the first scan, which has three seconds`);
  proc.process(999, 'gdb', { uid: 0 });
  let found = 0;
  for (let at = 250; at <= 2_000_000 && found === 0; at += 250) {
    proc.looks = 0;
    const now = take(at, 250);
    assert.ok(proc.looks < 60, `${proc.looks} looks in one scan`);
    if (seen(now)?.some((process) => process.name === 'gdb') === true) found = at;
  }
  assert.ok(found > 0 && census.overdue.oldestMs > 0, 'each has its turn');
});

test('whoever seems to be our child is asked again: an ended process may have had our pid', () => {
  const proc = new FakeProc();
  proc.process(1, 'init', { uid: 0 });
  proc.process(50, 'orphan');
  const { take } = censusOf(proc);
  const ours = new Set([20]);
  const parent = (at: number) => seen(take(at, 250, ours))?.find((process) => process.pid === 50)?.parent;
  const childOf = (pid: number) =>
    proc.entries.set('/proc/50/stat', `50 (orphan) S ${pid} 1 1 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 100 0 0`);
  childOf(20);
  for (let at = 0; at <= 60_000; at += 250) parent(at);
  childOf(1);
  assert.equal(parent(60_250), 1);
});

test("L6-08 of other processes' files no more than the head is read, and of a stranger's memory nothing", () => {
  const proc = new FakeProc();
  proc.process(1, 'init', { uid: 0, argv: Array.from({ length: 5000 }, () => 'x'.repeat(1000)) });
  proc.process(50, 'stranger', { uid: 77 });
  const whole: string[] = [];
  const heads: string[] = [];
  const eyes: ProcReader = {
    ...proc.eyes,
    read: (path) => {
      whole.push(path);
      return proc.eyes.read(path);
    },
    readLong: (path) => {
      whole.push(path);
      return proc.eyes.readLong(path);
    },
    readHead: (path) => {
      heads.push(path);
      return proc.eyes.readHead(path);
    },
  };
  const census = new ProcessTable(eyes, new MemoryDescriptors(eyes), 0, () => 0);
  const init = seen(census.take(0, { intervalMs: 5000, ownPids: none, everything: false }))?.find(
    (process) => process.pid === 1,
  );
  assert.deepEqual(
    whole.filter((path) => /^\/proc\/\d/.test(path)),
    [],
  );
  assert.ok(heads.includes('/proc/1/cmdline') && !heads.includes('/proc/50/cmdline'));
  assert.ok(init !== undefined && init.argv.join('').length <= 4096);
});

test('a pid that was given to another process is another process', () => {
  const proc = new FakeProc();
  proc.process(1, 'init', { uid: 0 });
  proc.process(50, 'gdb', { uid: 0, started: 100 });
  const { take } = censusOf(proc);
  for (let at = 0; at <= 60_000; at += 5000) take(at, 5000);
  proc.process(50, 'cat', { uid: 0, started: 999, argv: ['cat'] });
  let now: ReturnType<ProcessTable['take']> = { missing: 'gone' };
  for (let at = 65_000; at <= 75_000; at += 5000) now = take(at, 5000);
  assert.deepEqual(seen(now)?.find((process) => process.pid === 50)?.argv, ['cat']);
});

test('what ended and was not collected is no process; its pid may be given away', () => {
  const proc = new FakeProc();
  proc.process(1, 'init', { uid: 0 });
  proc.process(50, 'gdb', { uid: 0 });
  const { take } = censusOf(proc);
  const names = (at: number) => seen(take(at, 250))?.map((process) => process.name);
  assert.deepEqual(names(0), ['init', 'gdb']);
  proc.process(50, 'gdb', { uid: 0, state: 'Z' });
  assert.deepEqual(names(250), ['init']);
  proc.process(50, 'strace', { uid: 0, started: 999 });
  for (let at = 500; at <= 120_500; at += 250) names(at);
  assert.deepEqual(names(120_750), ['init', 'strace']);
});

test('L6-02 a process whose first thread ended is read through another one', () => {
  const proc = new FakeProc();
  proc.process(1, 'init', { uid: 0 });
  proc.process(60, 'reader', { uid: 0, state: 'Z', threads: 2 });
  proc.entries.set('/proc/60/task', ['60', '61']);
  for (const name of ['status', 'cmdline', 'exe', 'fd', 'uid_map']) {
    const entry = proc.entries.get(`/proc/60/${name}`);
    proc.entries.delete(`/proc/60/${name}`);
    if (entry !== undefined) proc.entries.set(`/proc/60/task/61/${name}`, entry);
  }
  proc.entries.set('/proc/60/task/61/fd', ['7']);
  proc.entries.set('/proc/60/task/61/fd/7', { link: '/proc/20/mem' });
  proc.entries.set('/proc/60/task/61/fdinfo/7', `pos:\t0\nflags:\t0100000\nmnt_id:\t${procMount}\nino:\t7\n`);
  const found = seen(censusOf(proc).take(0, 5000, new Set([20]), false))?.find((process) => process.pid === 60);
  assert.deepEqual(found?.opened, { value: [20] });
  assert.equal(found.executable, '/usr/bin/reader');
});

test('L6-10 whose a process is: real user, CAP_SYS_PTRACE here or in a namespace of its own', () => {
  const proc = new FakeProc();
  proc.process(1, 'init', { uid: 0 });
  proc.process(2, 'setuid', { uids: '77\t0\t0\t0', capabilities: '000001ffffffffff' });
  proc.process(3, 'contained', { capabilities: '000001ffffffffff', map: '         0         77          1\n' });
  proc.process(4, 'able', { capabilities: '0000000000080000' });
  const facts = seen(censusOf(proc).take(0))?.map(({ pid, uid, privileged }) => [pid, uid, privileged]);
  assert.deepEqual(facts, [
    [1, 0, true],
    [2, 77, false],
    [3, 77, false],
    [4, 77, true],
  ]);
});

test('hidepid is told by process 1, and a hidden descriptor list is not an empty one', () => {
  const proc = new FakeProc();
  proc.process(50, 'x');
  proc.entries.set('/proc/50/fd', { denied: true });
  const { census, take } = censusOf(proc);
  assert.deepEqual(seen(take(0, 5000))?.[0]?.opened, { missing: 'denied' });
  assert.equal(census.othersListed, false);
  proc.entries.set('/proc', { denied: true });
  assert.deepEqual(take(5000, 5000), { missing: 'denied' });
});

test("our memory in a neighbour's descriptors, by pid and by thread", () => {
  const proc = new FakeProc();
  proc.process(1, 'init', { uid: 0 });
  proc.process(60, 'reader', {
    uid: 0,
    fds: { 3: '/proc/20/mem', 4: '/proc/21/mem', 5: '/proc/999/mem', 6: 'socket:[7]' },
  });
  const found = seen(censusOf(proc).take(0, 5000, new Set([20, 21]), false))?.find((process) => process.pid === 60);
  assert.ok(found !== undefined);
  assert.deepEqual(found.opened, { value: [20, 21] });
  assert.deepEqual(found.captures, [7]);
});

function serving(proc: FakeProc): Watched {
  proc.process(1, 'init', { uid: 0 });
  for (const pid of [10, 20]) {
    proc.process(pid, 'node', { fds: { 3: `socket:[${pid}]` } });
    proc.entries.set(`/proc/${pid}/task`, [String(pid)]);
    proc.entries.set(`/proc/${pid}/task/${pid}/status`, 'Name:\tx\nState:\tS (sleeping)\nTracerPid:\t0\n');
    proc.entries.set(`/proc/${pid}/cgroup`, '0::/\n');
  }
  for (const table of ['tcp', 'packet', 'raw', 'raw6', 'ptype', 'udp'])
    proc.entries.set(`/proc/10/net/${table}`, 'head\n');
  return {
    targets: [
      { role: 'supervisor', pid: 10, sealed: false, namespace: 'shared', sockets: [10] },
      { role: 'gateway', pid: 20, sealed: true, namespace: 'shared', sockets: [20] },
    ],
    port: 8000,
    listener: 20,
    networks: [10],
    unixPath: '',
    code: [],
    memory: [],
  };
}

const line = (inode: number): string =>
  `head\n   0: 0100007F:1F40 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 ${inode} 1 0\n`;

test('L6-11 a connection that closes between the two reads is no finding; a socket of no table stays one', async () => {
  for (const stays of [false, true]) {
    const proc = new FakeProc();
    const watched = serving(proc);
    proc.descriptors(20, { 3: 'socket:[20]', 9: 'socket:[900]' });
    let paused = 0;
    const sampler = new Scanner(
      {
        ...samplerPowers,
        proc: proc.eyes,
        clocks: () => ({ monotonic: 0, boot: 0, runnable: 0 }),
        pause(ms) {
          paused += ms;
          if (!stays) proc.descriptors(20, { 3: 'socket:[20]' });
          return Promise.resolve();
        },
      },
      0,
    );
    const snapshot = await sampler.take(watched, 5000);
    assert.ok(paused > 0 && paused < 100);
    assert.deepEqual(seen(snapshot.targets[1]!.sockets), stays ? [20, 900] : [20]);
  }
});

test('L6-11 a TCP socket of the gateway that is in no table is a dead connection; one of another protocol is not', async () => {
  for (const [protocol, findings] of [
    ['TCP', 0],
    ['MPTCP', 1],
    ['UNIX-STREAM', 1],
    ['TCPv6', 1],
  ] as const) {
    const proc = new FakeProc();
    const watched = serving(proc);
    proc.descriptors(20, { 3: 'socket:[20]', 9: 'socket:[900]' });
    const sampler = new Scanner(
      {
        ...samplerPowers,
        protocolName: (path) => (path === '/proc/20/fd/9' ? protocol : undefined),
        proc: proc.eyes,
        clocks: () => ({ monotonic: 0, boot: 0, runnable: 0 }),
        pause: () => Promise.resolve(),
      },
      0,
    );
    assert.equal(detectSockets(await sampler.take(watched, 5000)).findings.length, findings, protocol);
  }
});

test('L6-13 a table of connections that cannot be read hides no capture', async () => {
  const proc = new FakeProc();
  const watched = serving(proc);
  proc.entries.set('/proc/10/net/tcp', { denied: true });
  proc.entries.set(
    '/proc/10/net/packet',
    'sk       RefCnt Type Proto  Iface R Rmem   User   Inode\n0000000000000000 3      3    0003   1     1 0      0      777\n',
  );
  const sampler = new Scanner(
    {
      ...samplerPowers,
      proc: proc.eyes,
      clocks: () => ({ monotonic: 0, boot: 0, runnable: 0 }),
      pause: () => Promise.resolve(),
    },
    0,
  );
  const snapshot = await sampler.take(watched, 5000);
  assert.equal(snapshot.tablesRead, false);
  assert.deepEqual(
    seen(snapshot.rows)?.map((row) => row.inode),
    [777],
  );
});

test('an accepted connection is looked up once in a turn, not in every scan', async () => {
  const proc = new FakeProc();
  const watched = serving(proc);
  proc.descriptors(20, { 3: 'socket:[20]', 9: 'socket:[900]' });
  proc.entries.set('/proc/10/net/tcp', line(900));
  let now = 0;
  let reads = 0;
  const eyes: ProcReader = {
    ...proc.eyes,
    read: (path) => {
      reads += Number(path === '/proc/10/net/tcp');
      return proc.eyes.read(path);
    },
  };
  const sampler = new Scanner(
    {
      ...samplerPowers,
      proc: eyes,
      clocks: () => ({ monotonic: now, boot: now, runnable: 0 }),
      pause: () => Promise.resolve(),
    },
    0,
  );
  for (; now < 5000; now += 250)
    assert.equal(
      seen((await sampler.take(watched, 250)).rows)?.some((row) => row.inode === 900),
      true,
    );
  assert.equal(reads, 1);
});

test('without a process whose network it is the tables are not guessed, and one that cannot be read spoils the sight', async () => {
  const proc = new FakeProc();
  const watched = serving(proc);
  const sampler = new Scanner(
    {
      ...samplerPowers,
      proc: proc.eyes,
      clocks: () => ({ monotonic: 0, boot: 0, runnable: 0 }),
      pause: () => Promise.resolve(),
    },
    0,
  );
  assert.deepEqual((await sampler.take({ ...watched, networks: [] }, 5000)).rows, { missing: 'failed' });
  assert.ok('missing' in (await sampler.take({ ...watched, networks: [10, 99] }, 5000)).rows);
});

test('L6-13 a capture is seen in every network that counts', async () => {
  const proc = new FakeProc();
  const watched = serving(proc);
  for (const table of ['tcp', 'raw', 'raw6']) proc.entries.set(`/proc/1/net/${table}`, 'head\n');
  proc.entries.set(
    '/proc/1/net/packet',
    'sk       RefCnt Type Proto  Iface R Rmem   User   Inode\n0000000000000000 3      3    0003   1     1 0      0      777\n',
  );
  const sampler = new Scanner(
    {
      ...samplerPowers,
      proc: proc.eyes,
      clocks: () => ({ monotonic: 0, boot: 0, runnable: 0 }),
      pause: () => Promise.resolve(),
    },
    0,
  );
  const { rows } = await sampler.take({ ...watched, networks: [10, 1] }, 5000);
  assert.deepEqual('value' in rows ? rows.value.map((row) => row.inode) : rows, [777]);
});

test('L6-12 a new descriptor of ours is followed at once, one in the place of another within a second', () => {
  const proc = new FakeProc();
  proc.descriptors(20, { 3: 'socket:[1]', 4: '/dev/null' });
  const descriptors = new SocketCache(proc.eyes);
  assert.deepEqual(descriptors.of(20, 0), { value: [1] });
  proc.looks = 0;
  assert.deepEqual(descriptors.of(20, 250), { value: [1] });
  assert.equal(proc.looks, 1, 'only counted');
  proc.descriptors(20, { 3: 'socket:[1]', 4: 'socket:[9]' });
  assert.deepEqual(descriptors.of(20, 999), { value: [1] });
  assert.deepEqual(descriptors.of(20, 1000), { value: [1, 9] });
  proc.descriptors(20, { 3: 'socket:[1]', 4: 'socket:[9]', 5: 'socket:[10]' });
  assert.deepEqual(descriptors.of(20, 1001), { value: [1, 9, 10] });
  proc.entries.set('/proc/20/fd', { denied: true });
  assert.deepEqual(descriptors.of(20, 1002), { missing: 'denied' });
});

test('L3-12 a library that an upgrade replaces under us stays what was mapped; one that was never declared does not become known', async () => {
  const proc = new FakeProc();
  const watched = { ...serving(proc), code: ['/usr/lib/a.so'] };
  let now = 0;
  const sampler = new Scanner(
    {
      ...samplerPowers,
      proc: proc.eyes,
      clocks: () => ({ monotonic: now, boot: now, runnable: 0 }),
      pause: () => Promise.resolve(),
    },
    0,
  );
  const map = (path: string, inode: number) => {
    proc.entries.set('/proc/10/maps', '');
    proc.entries.set('/proc/20/maps', `7f00-7f01 r-xp 00000000 fe:00 ${inode} ${path}\n`);
  };
  const judge = async () => {
    now += 20_001;
    return detectMappings(await sampler.take(watched, 5000)).findings.map(({ relation }) => relation);
  };
  map('/usr/lib/a.so', 7);
  assert.deepEqual(await judge(), []);
  map('/usr/lib/a.so (deleted)', 7);
  assert.deepEqual([await judge(), await judge()], [['stranger'], ['stranger']]);
  map('/tmp/evil.so', 8);
  assert.deepEqual([await judge(), await judge()], [['effect'], ['effect']]);
  map('/usr/lib/a.so (deleted)', 7);
  assert.deepEqual(await judge(), ['effect'], "once nobody had it mapped, its inode may be another file's");
});
