/**
 * What a server inherits from whoever starts it: ignored signals, a low limit of open files, a state folder of somebody
 * else.
 * @module
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { endWithUs } from '../support/children.ts';
import { asOrdinary } from '../support/identity.ts';
import { alive, call, root, until } from '../support/server.ts';

const ordinary = 12345;

/** `./kwyre serve` behind a line of shell, as an ordinary user; what it prints and how it ends. */
function behind(line: string, args: readonly string[] = []) {
  const home = mkdtempSync(join(tmpdir(), 'kwyre-inherit-'));
  if (process.getuid?.() === 0) chownSync(home, ordinary, ordinary);
  const state = join(home, 'state');
  const [file = '', ...rest] = asOrdinary(ordinary, [
    'sh',
    '-c',
    `${line} exec "$0" serve --port 0 --state "$@"`,
    join(root, 'kwyre'),
    state,
    ...args,
  ]);
  const child = spawn(file, rest, {
    cwd: '/',
    env: { PATH: process.env['PATH'], HOME: home },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  endWithUs(child);
  let output = '';
  for (const pipe of [child.stdout, child.stderr]) pipe.on('data', (bytes: Buffer) => (output += bytes.toString()));
  const ended = new Promise<number | null>((resolve) =>
    child.once('close', (code) => {
      rmSync(home, { recursive: true, force: true });
      resolve(code);
    }),
  );
  return { pid: child.pid!, state, output: () => output, ended };
}

test('signals that were ignored stay ignored (nohup), the others end it in order', async () => {
  const server = behind(`trap '' HUP INT QUIT;`);
  await until('the server', () => /\(ready in/.test(server.output()), 60_000);
  for (const command of ['token link', 'chat', 'status'])
    assert.ok(
      server.output().includes(`./kwyre ${command} --state ${server.state}`),
      'the next steps find this server',
    );
  for (const signal of ['SIGHUP', 'SIGINT', 'SIGQUIT'] as const) process.kill(server.pid, signal);
  await sleep(1500);
  assert.ok(alive(server.pid), server.output());
  process.kill(server.pid, 'SIGTERM');
  assert.equal(await server.ended, 0);
});

test('a low limit of open files lowers ours: it serves, says the limit, and takes fewer connections', async () => {
  const server = behind('ulimit -n 300;');
  await until('the server', () => /\(ready in/.test(server.output()), 60_000);
  const port = Number(/127\.0\.0\.1:(\d+) \(ready/.exec(server.output())![1]);
  const token = spawnSync('cat', [join(server.state, 'token')], { encoding: 'utf8' }).stdout.trim();
  const status = await (await call({ url: `http://127.0.0.1:${port}`, token }, '/kwyre/status')).text();
  assert.match(status, /RLIMIT_NOFILE 300/);
  process.kill(server.pid, 'SIGTERM');
  assert.equal(await server.ended, 0);
});

for (const limit of [12, 40, 64, 255]) {
  test(`${limit} open files are too few: it says so without a trace`, async () => {
    const server = behind(`ulimit -n ${limit};`);
    assert.equal(await server.ended, 1);
    assert.match(server.output(), new RegExp(`kwyre: the limit on open files is ${limit}; .*\\n  next: raise it`));
    assert.doesNotMatch(server.output(), /\n\s+at |Assertion|LinuxError/);
  });
}

test('a state folder that the user may not enter is called that, by the server and by every command', () => {
  const place = mkdtempSync(join(tmpdir(), 'kwyre-closed-'));
  const closed = join(place, 'closed');
  spawnSync('mkdir', ['-p', join(closed, 'state')]);
  writeFileSync(join(place, 'file'), '');
  chmodSync(place, 0o755);
  chmodSync(closed, 0o000);
  try {
    for (const command of [
      ['serve', '--port', '0'],
      ['status'],
      ['chat'],
      ['wipe', '--all'],
      ['token'],
      ['token', 'list'],
    ]) {
      for (const [state, words] of [
        [join(closed, 'state'), /may not enter|cannot (?:make|write) the state folder/],
        [join(place, 'file', 'state'), /not a folder|cannot (?:make|write) the state folder/],
      ] as const) {
        const [file = '', ...args] = asOrdinary(ordinary, [join(root, 'kwyre'), ...command, '--state', state]);
        const { status, stderr } = spawnSync(file, args, {
          encoding: 'utf8',
          cwd: '/',
          env: { PATH: process.env['PATH'], HOME: '/nonexistent' },
        });
        assert.ok(status === 1 || status === 11, `${command.join(' ')}: ${status} ${stderr}`);
        assert.match(stderr, words, command.join(' '));
        assert.match(stderr, /\n {2}next: .*--state DIR/, command.join(' '));
        assert.doesNotMatch(stderr, /\n\s+at /);
      }
    }
  } finally {
    chmodSync(closed, 0o700);
    rmSync(place, { recursive: true });
  }
});

test('a terminal that Ctrl-S stopped does not stop the server: what it has to say waits', async () => {
  const state = mkdtempSync(join(tmpdir(), 'kwyre-stopped-'));
  const command = ['exec', join(root, 'kwyre'), 'serve', '--port', '0', '--state', state].join(' ');
  const child = spawn('script', ['-qec', command, '/dev/null'], {
    cwd: '/',
    env: { PATH: process.env['PATH'], HOME: state, TERM: 'xterm' },
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  endWithUs(child);
  let said = '';
  child.stdout.on('data', (bytes: Buffer) => (said += bytes.toString()));
  try {
    await until('the server', () => said.includes('Ctrl-C (every'), 60_000);
    const port = Number(/127\.0\.0\.1:(\d+)/.exec(said)?.[1]);
    const server = readFileSync(join(state, 'server.json'), 'utf8');
    const { pid } = JSON.parse(server) as { pid: number };
    const engine = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1')
      .trim()
      .split(' ')
      .map(Number)
      .find((child) => readFileSync(`/proc/${child}/cmdline`, 'latin1').includes('kwyre: engine'));
    child.stdin.write('\x13');
    await sleep(300);
    process.kill(engine!, 'SIGKILL');
    await sleep(7000); // longer than the roles live without their supervisor
    assert.doesNotMatch(said, /starting again/);
    assert.equal((await fetch(`http://127.0.0.1:${port}/health`)).status, 200);
    child.stdin.write('\x11');
    await until('what waited', () => said.includes('starting again'));
    child.stdin.write('\x03');
    const [code] = (await once(child, 'close')) as [number];
    assert.equal(code, 0, said);
  } finally {
    rmSync(state, { recursive: true, force: true });
  }
});

test('a reader that has seen enough ends a command without a word', () => {
  const { stdout, stderr } = spawnSync(
    'sh',
    ['-c', '"$0" deps plan --format sha256sum | head -n 1', join(root, 'kwyre')],
    { cwd: '/', env: { PATH: process.env['PATH'], HOME: '/' }, encoding: 'utf8' },
  );
  assert.match(stdout, /^[0-9a-f]{64} {2}\S+\n$/);
  assert.equal(stderr, '');
});
