/**
 * Nobody of a server's own user gets hold of its memory at any time: a program of that user tries to open it in a loop,
 * from before the start on, and keeps whatever it got until the conversations are there. Restarts of the engine
 * included. Needs root: to run the server as another user, and for namespaces of its own.
 * @module
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { assertDumpSetting, assertHidden, assertUntraced } from '../../src/layers/2-isolation/jail/exposure-check.ts';
import { loadListDescriptor } from '../../src/layers/3-dependencies/load-list.ts';
import { sealedBytes } from '../../src/linux/memory/memfd.ts';
import { endWithUs } from '../support/children.ts';
import { asUser } from '../support/identity.ts';
import { call, launch, root, startServer, until } from '../support/server.ts';
import { stripped } from '../support/stripped.ts';

const uid = 61_239;
/** Where the first image hands over to the second. */
const handoverDescriptor = 100;

/** One thing that the racer got: of whom, by which way; whether the memory behind it still lives at the end. */
type Got = {
  readonly pid: number;
  readonly parent: number;
  readonly way: string;
  readonly words: string;
  readonly atMs: number;
  readonly living: boolean;
};

/**
 * Opens memory, environment, maps and descriptors of every younger process of its own user, as fast as it can. It keeps
 * the environment, which holds on to the memory of an image as "mem" does, and which the watchdog does not take for it.
 */
const racer = `
const fs = require('node:fs');
const [stop, report] = process.argv.slice(1);
const me = process.pid, uid = process.getuid(), got = [];
let tries = 0;
const parentOf = (pid) => { try { const t = fs.readFileSync('/proc/' + pid + '/stat', 'latin1'); return Number(t.slice(t.lastIndexOf(')') + 2).split(' ')[1]); } catch { return 0; } };
const wordsOf = (pid) => { try { return fs.readFileSync('/proc/' + pid + '/cmdline', 'latin1').slice(0, 400); } catch { return ''; } };
const ways = {
  mem: (at) => { fs.closeSync(fs.openSync(at + '/mem', 'r')); },
  environ: (at) => fs.openSync(at + '/environ', 'r'),
  maps: (at) => { if (fs.readFileSync(at + '/maps').length === 0) throw 0; },
  fd: (at) => { fs.readdirSync(at + '/fd'); },
};
fs.writeFileSync(report, '');
while (!fs.existsSync(stop)) {
  for (const name of fs.readdirSync('/proc')) {
    const pid = Number(name), at = '/proc/' + name;
    if (!(pid > me)) continue;
    try { if (fs.statSync(at).uid !== uid) continue; } catch { continue; }
    for (const way in ways) {
      tries += 1;
      try { const fd = ways[way](at); got.push({ pid, parent: parentOf(pid), words: wordsOf(pid), way, atMs: performance.now(), fd }); if (fd !== undefined && got.length > 2000) { fs.closeSync(fd); delete got.at(-1).fd; } } catch {}
    }
  }
}
// An environment lies in the memory of its image: of one that is no more it reads as nothing.
const lives = (fd) => { try { return fs.readSync(fd, Buffer.alloc(8), 0, 8, 0) > 0; } catch { return true; } };
fs.writeFileSync(report, JSON.stringify({ tries, got: got.map(({ fd, ...rest }) => ({ ...rest, living: fd !== undefined && lives(fd) })) }));
`;

async function withRacer(work: () => Promise<void>): Promise<{ tries: number; got: Got[] }> {
  const folder = fs.mkdtempSync(join(tmpdir(), 'kwyre-racer-'));
  fs.chownSync(folder, uid, uid);
  const [stop, report] = [join(folder, 'stop'), join(folder, 'report')];
  const [file = '', ...args] = asUser(uid, [process.execPath, '-e', racer, stop, report]);
  const child = spawn(file, args, { stdio: ['ignore', 'inherit', 'inherit'], env: {} });
  endWithUs(child);
  const ended = once(child, 'close');
  try {
    await until('the racer', () => fs.existsSync(report));
    await work();
    fs.writeFileSync(stop, '');
    await ended;
    return JSON.parse(fs.readFileSync(report, 'utf8')) as { tries: number; got: Got[] };
  } finally {
    child.kill('SIGKILL');
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

test('a start and two restarts of the engine of an ordinary user: nothing of any role was opened, and nothing that was kept lives', async () => {
  let supervisor = 0;
  const all = new Set<number>();
  const { tries, got } = await withRacer(async () => {
    const server = await startServer({ uid });
    supervisor = server.pid;
    try {
      for (let round = 0; round < 3; round += 1) {
        const pids = server.pids();
        for (const pid of Object.values(pids)) all.add(pid);
        for (
          let tries = 0;
          tries < 200 && (await call(server, '/v1/models').catch(() => undefined))?.status !== 200;
          tries += 1
        )
          await sleep(100);
        if (round === 2) break;
        process.kill(pids['engine']!, 'SIGKILL');
        await until(
          'the next engine',
          () => server.pids()['engine'] !== undefined && server.pids()['engine'] !== pids['engine'],
        );
        await sleep(500);
      }
    } finally {
      await server.stop();
    }
  });
  assert.ok(all.size >= 6, 'roles were started again');
  // The launcher's own programs are no processes of ours.
  const ofRoles = got.filter(
    ({ parent, pid, words }) =>
      pid !== supervisor &&
      (all.has(pid) || (parent === supervisor && /kwyre: |jail\/(entry|main)|probe\/main/.test(words))),
  );
  assert.deepEqual(ofRoles.slice(0, 5), [], 'a role was open');
  const ofFirst = got.filter(({ pid }) => pid === supervisor);
  assert.ok(
    ofFirst.some(({ way }) => way === 'mem' || way === 'environ'),
    'the racer is fast enough: it opened the image that verifies, which any program may',
  );
  assert.deepEqual(
    ofFirst.filter(({ living }) => living),
    [],
    'what it kept of that one lives on',
  );
  const times = ofFirst.filter(({ way }) => way === 'environ').map(({ atMs }) => atMs);
  console.log(
    `${tries} tries; the launcher and the first image were open for ${Math.round(Math.max(...times) - Math.min(...times))} ms`,
  );
});

test('the same racer opens an ordinary Node of its user, and what it keeps lives', async () => {
  let pid = 0;
  const { got } = await withRacer(async () => {
    const [file = '', ...args] = asUser(uid, [process.execPath, '-e', 'setTimeout(() => {}, 3000)']);
    const child = spawn(file, args, { stdio: 'ignore', env: { NAME: 'value' } });
    endWithUs(child);
    pid = child.pid!;
    await sleep(700);
  });
  assert.ok(got.some((one) => one.pid === pid && one.way === 'environ' && one.living));
});

for (const who of [undefined, uid]) {
  test(`a tracer from before the start, of ${who === undefined ? 'root' : 'an ordinary user'}: refused at the first line`, () => {
    const command = [
      'strace',
      '-f',
      '-o',
      '/dev/null',
      join(root, 'kwyre'),
      'serve',
      '--port',
      '0',
      '--state',
      join(tmpdir(), 'kwyre-never'),
    ];
    const [file = '', ...args] = who === undefined ? command : asUser(who, command);
    const ran = spawnSync(file, args, {
      cwd: '/',
      env: { PATH: process.env['PATH'], HOME: '/' },
      encoding: 'utf8',
      timeout: 60_000,
    });
    assert.equal(ran.status, 16, ran.stderr);
    assert.match(ran.stderr, /pid \d+ traces this process/);
  });
}

test('a kernel that runs no program from memory (vm.memfd_noexec=2): it serves, and says what that costs', async () => {
  const state = fs.mkdtempSync(join(tmpdir(), 'kwyre-noexec-'));
  const inside = `mount -t proc proc /proc && echo 2 > /proc/sys/vm/memfd_noexec && exec ${join(root, 'kwyre')} serve --port 0 --state ${state}`;
  const child = spawn(
    'unshare',
    ['--pid', '--fork', '--kill-child', '--mount', '--propagation', 'private', 'sh', '-c', inside],
    { cwd: '/', env: { PATH: process.env['PATH'], HOME: '/' }, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  endWithUs(child);
  let output = '';
  for (const pipe of [child.stdout, child.stderr]) pipe.on('data', (chunk: Buffer) => (output += chunk.toString()));
  try {
    const port = await until(
      'the server',
      () => {
        if (child.exitCode !== null) throw new Error(output);
        return Number(/127\.0\.0\.1:(\d+) \(ready/.exec(output)?.[1] ?? 0) || undefined;
      },
      60_000,
    );
    const token = fs.readFileSync(join(state, 'token'), 'utf8').trim();
    const { layers } = (await (await call({ url: `http://127.0.0.1:${port}`, token }, '/kwyre/status')).json()) as {
      layers: { checks: { id: string; status: string; evidence: string }[] }[];
    };
    const check = layers.flatMap(({ checks }) => checks).find(({ id }) => id === 'sealed-program');
    assert.equal(check?.status, 'degraded');
    assert.match(check.evidence, /memfd_noexec/);
  } finally {
    child.kill('SIGKILL');
    await once(child, 'close');
    fs.rmSync(state, { recursive: true, force: true });
  }
});

test('the start is refused where the kernel lets programs be read that their user cannot read, and where a process is visible', () => {
  const disk = (text: string, owner = 0) =>
    ({ readFileSync: () => text, statSync: () => ({ uid: owner }) }) as unknown as Parameters<typeof assertHidden>[0];
  assert.throws(
    () => {
      assertDumpSetting(disk('1\n'));
    },
    { code: 'L2_SUID_DUMPABLE' },
  );
  for (const fine of ['0\n', '2\n']) assertDumpSetting(disk(fine));
  assert.throws(
    () => {
      assertHidden(disk('', 7), 7);
    },
    { code: 'L2_PROCESS_VISIBLE' },
  );
  assertHidden(disk('', 0), 7);
  assert.throws(
    () => {
      assertUntraced(disk('TracerPid:\t12\n'));
    },
    { code: 'L6_TRACED' },
  );
  assert.throws(
    () => {
      assertUntraced(disk('nothing'));
    },
    { code: 'L6_TRACED' },
    'what cannot be read is not clean',
  );
});

test('a start under fs.suid_dumpable=1 refuses before anything else', () => {
  const folder = fs.mkdtempSync(join(tmpdir(), 'kwyre-setting-'));
  fs.writeFileSync(join(folder, 'setting'), '1\n');
  const inside = `mount --bind ${folder}/setting /proc/sys/fs/suid_dumpable && exec ${join(root, 'kwyre')} serve --port 0 --state ${folder}/state`;
  const ran = spawnSync('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', inside], {
    cwd: '/',
    env: { PATH: process.env['PATH'], HOME: '/' },
    encoding: 'utf8',
    timeout: 60_000,
  });
  fs.rmSync(folder, { recursive: true, force: true });
  assert.notEqual(ran.status, 0, ran.stdout);
  assert.match(ran.stderr, /fs\.suid_dumpable is 1.*\n {2}next: as root: sysctl/);
});

test('a role that is started from a file which its user can read does not begin', () => {
  const list = sealedBytes('kwyre-loads', Buffer.from(JSON.stringify({ root, signed: false, files: [] })), 0o444);
  const [file = '', ...args] = asUser(uid, [
    process.execPath,
    stripped('src/jail/entry.ts'),
    stripped('src/jail/main.ts'),
  ]);
  const ran = spawnSync(file, args, {
    env: {},
    encoding: 'utf8',
    timeout: 30_000,
    stdio: ['ignore', 'pipe', 'pipe', ...Array.from({ length: loadListDescriptor - 3 }, () => 'ignore' as const), list],
  });
  fs.closeSync(list);
  assert.equal(ran.status, 12, ran.stderr);
  assert.match(ran.stderr, /other programs of this user can read the memory of this process/);
});

test('a second image of the supervisor that is started from a file which its user can read does not begin', () => {
  const handed = { tree: { root, signed: false }, files: [], natives: [], visible: false };
  const memory = sealedBytes('kwyre-tree', Buffer.from(JSON.stringify(handed)), 0o444);
  const [file = '', ...args] = asUser(uid, [process.execPath, join(root, 'src/supervisor/main.ts')]);
  const before: 'ignore'[] = Array.from({ length: handoverDescriptor - 3 }, () => 'ignore');
  const ran = spawnSync(file, args, {
    env: {},
    encoding: 'utf8',
    timeout: 30_000,
    stdio: ['ignore', 'pipe', 'pipe', ...before, memory],
  });
  fs.closeSync(memory);
  assert.equal(ran.status, 12, ran.stderr);
  assert.match(ran.stderr, /other programs of this user can read the memory of this process/);
});

/** Notes how a process is called and whether its memory can be opened, each time that one of them changes. */
const observer = `
const fs = require('node:fs');
const [pid, stop] = process.argv.slice(1), seen = [];
process.stdout.write('up\\n');
while (!fs.existsSync(stop)) {
  let name = '', open = true;
  try { name = fs.readFileSync('/proc/' + pid + '/comm', 'latin1').trim(); } catch { break; }
  try { fs.closeSync(fs.openSync('/proc/' + pid + '/mem', 'r')); } catch { open = false; }
  const last = seen.at(-1);
  if (last === undefined || last[0] !== name || last[1] !== open) seen.push([name, open]);
}
process.stdout.write(JSON.stringify(seen));
`;

test('the first image of an ordinary user hides itself while it verifies, before the second one takes its place', async () => {
  const folder = fs.mkdtempSync(join(tmpdir(), 'kwyre-observer-'));
  fs.chownSync(folder, uid, uid);
  const server = launch({ uid });
  const [file = '', ...args] = asUser(uid, [
    process.execPath,
    '-e',
    observer,
    String(server.process.pid),
    join(folder, 'stop'),
  ]);
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'], env: {} });
  endWithUs(child);
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  try {
    await until('the server', () => server.output().includes('(ready in'), 60_000);
    fs.writeFileSync(join(folder, 'stop'), '');
    await once(child, 'close');
  } finally {
    server.process.kill('SIGTERM');
    child.kill('SIGKILL');
    await server.ended;
    fs.rmSync(folder, { recursive: true });
  }
  const seen = JSON.parse(output.slice(output.indexOf('[['))) as [name: string, open: boolean][];
  const first = seen.findIndex(([name]) => name.startsWith('kwyre: super'));
  const second = seen.findIndex(([name], at) => at > first && !name.startsWith('kwyre: super'));
  assert.ok(first >= 0 && second > first, `both images were seen: ${JSON.stringify(seen)}`);
  assert.equal(seen[second - 1]?.[1], false, `hidden at its end: ${JSON.stringify(seen)}`);
  assert.ok(
    seen.slice(second).every(([, open]) => !open),
    `hidden from then on: ${JSON.stringify(seen)}`,
  );
});
