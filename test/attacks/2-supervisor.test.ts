/**
 * Layer 2 around the supervisor: hostile code in its place, after its filter, can speak to nobody and look into
 * nothing.
 * @module
 */
import { statusField } from '../../src/linux/procfs/task-status.ts';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemCalls } from '../../src/linux/syscalls.ts';
import { capabilitiesOfSupervisor } from '../../src/policy/supervisor-rights.ts';
import { asUser } from '../support/identity.ts';
import { injectWhenIdle } from '../support/inject.ts';
import { starters } from '../support/probe.ts';
import { call, startServer, until } from '../support/server.ts';
import { stripped } from '../support/stripped.ts';

const needed = ['what it needs: a pair', 'what it needs: a child'];

/**
 * What it may do, its remaining power: it makes channels, starts and ends children, and opens what its user may. What
 * the kernel answers an ordinary user, whose supervisor has no capability; root's gets through.
 */
const remaining: Readonly<Record<string, string>> = {
  'local: socketpair': 'ok',
  'local: fork': 'ok',
  'local: clone': 'ok',
  'local: memory-file': 'ok',
  'local: read-file': 'ok',
  'local: write-tmp': 'ok',
  'local: write-shm': 'ok',
  'still: a file that others read': 'EACCES',
  'still: a memory file in /dev/shm': 'ok',
  'still: a terminal of its own': 'ok',
  'still: the title of a process': 'ok',
  'still: memory that a program is given': 'ok',
  'still: accept where a gateway has its listener': 'ok',
  'local: exec': 'ENOENT',
  'local: setuid': 'EPERM',
  'local: open-memory': 'EACCES',
  'local: signal': 'EPERM',
};
/** Refused by another answer than the filter's EPERM. */
const otherAnswers: Readonly<Record<string, RegExp>> = {
  'dns name': /^(EPERM|EAI_\w+|nothing was sent)$/,
  'dns query': /^(EPERM|ECONNREFUSED|ESERVFAIL|ETIMEOUT|nothing was sent)$/,
  'local: io-uring': /^ENOSYS$/,
  'namespaces by clone3': /^ENOSYS$/,
};

async function attack(uid: number | undefined, ...more: string[]): Promise<Record<string, string>> {
  const folder = mkdtempSync(join(tmpdir(), 'kwyre-unix-'));
  const path = join(folder, 'socket');
  const services = [createServer().listen(0, '127.0.0.1'), createServer().listen(path)];
  await Promise.all(services.map((service) => new Promise((resolve) => service.once('listening', resolve))));
  const { port } = services[0]!.address() as { port: number };
  const command = [
    process.execPath,
    '--disable-warning=ExperimentalWarning',
    stripped('test/attacks/entries/hostile-supervisor.ts'),
    '127.0.0.1',
    String(port),
    path,
    ...more,
  ];
  const [file = '', ...args] = uid === undefined ? command : asUser(uid, command);
  const child = spawn(file, args, { env: {}, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let noise = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (noise += chunk.toString()));
  const ended = new Promise((resolve) => child.once('close', resolve));
  const late = setTimeout(() => child.kill('SIGKILL'), 30_000);
  await ended;
  clearTimeout(late);
  for (const service of services) service.close();
  rmSync(folder, { recursive: true });
  assert.notEqual(output, '', noise);
  return JSON.parse(output) as Record<string, string>;
}

for (const [who, uid] of [
  ['who runs the tests', undefined],
  ['an ordinary user', 61_234],
] as const) {
  test(`L2-01 to L2-07, L2-23 a hostile supervisor of ${who} reaches nothing`, async (t) => {
    if (uid !== undefined && process.getuid?.() !== 0) {
      t.diagnostic('covered by the test above: an ordinary user runs these');
      return;
    }
    const answers = await attack(uid);
    for (const name of needed) assert.equal(answers[name], 'ok', name);
    for (const [name, answer] of Object.entries(answers)) {
      if (needed.includes(name)) continue;
      const may = remaining[name];
      const asRoot = uid === undefined && process.getuid?.() === 0;
      if (may === undefined) assert.match(answer, otherAnswers[name] ?? /^EPERM$/, `${name}: ${answer}`);
      // Who runs the tests without being root may send a signal to the test, and open it.
      else if (uid !== undefined || asRoot) assert.equal(answer, asRoot && may !== 'ENOENT' ? 'ok' : may, name);
    }
    assert.deepEqual(
      Object.keys(remaining).filter((name) => !(name in answers)),
      [],
    );
  });
}

test('the attacks are real: without the filter they get out', async () => {
  const answers = await attack(undefined, 'free');
  assert.equal(Object.keys(answers).length, 7);
  for (const [name, answer] of Object.entries(answers)) assert.equal(answer, 'ok', name);
});

test('the running server puts it on once every lock was tried alone, and starts fresh pairs under it', async () => {
  const server = await startServer();
  try {
    const seen = async () => {
      const status = (await (await call(server, '/kwyre/status')).json()) as {
        layers: { layer: number; checks: { id: string; evidence: string }[] }[];
      };
      return status.layers
        .find((layer) => layer.layer === 2)!
        .checks.find((check) => check.id === 'supervisor.confined')!.evidence;
    };
    let evidence = '';
    for (let i = 0; i < 60 && !evidence.includes('no connection'); i += 1) {
      await sleep(250);
      evidence = await seen();
    }
    assert.match(evidence, /no connection/);
    const asRoot = process.getuid?.() === 0;
    assert.match(
      evidence,
      asRoot ? /capabilities: the 14 capabilities that its children need/ : /capabilities: no capability/,
    );
    if (asRoot) {
      const mask = capabilitiesOfSupervisor.reduce((all, [number]) => all | (1n << BigInt(number)), 0n);
      for (const thread of readdirSync(`/proc/${server.pid}/task`)) {
        const text = readFileSync(`/proc/${server.pid}/task/${thread}/status`, 'latin1');
        for (const name of ['CapPrm', 'CapEff', 'CapBnd'])
          assert.equal(BigInt(`0x${statusField(text, name)}`) & ~mask, 0n, `${name} of thread ${thread}`);
      }
    }
    assert.match(readFileSync(`/proc/${server.pid}/limits`, 'latin1'), /^Max core file size +0 +0 /m);
    process.kill(server.pids()['engine']!, 'SIGKILL');
    await until('a fresh pair', () => server.output().includes('1 of 3 this hour'));
    const answer = await call(server, '/v1/chat/completions', {
      model: 'guide',
      max_tokens: 4,
      messages: [{ role: 'user', content: 'hello' }],
    });
    assert.equal(answer.status, 200);
    assert.equal((await server.stop()).code, 0);
  } finally {
    server.kill();
  }
});

for (const { who, uid } of starters) {
  test(`the remaining power of the living supervisor of ${who}, told as it is: ${uid === undefined && process.getuid?.() === 0 ? 'it opens' : 'it cannot open'} the memory of its roles, and makes no other socket`, async (t) => {
    if (process.getuid?.() !== 0) {
      t.diagnostic('a payload in a living process needs root');
      return;
    }
    const server = await startServer(uid === undefined ? {} : { uid });
    try {
      await until('its filter', () =>
        /^Seccomp_filters:\t2$/m.test(readFileSync(`/proc/${server.pid}/status`, 'latin1')),
      );
      const makes = async (name: string, ...args: (number | Buffer)[]) =>
        await injectWhenIdle(server.pid, systemCalls.x64[name]!, args);
      for (const role of ['gateway', 'engine', 'watchdog']) {
        const opened = await makes('openat', -100, Buffer.from(`/proc/${server.pids()[role]!}/mem\0`), 0, 0);
        assert.ok(
          'answer' in opened && (uid === undefined ? opened.answer >= 0 : opened.answer === -13),
          `${role}: ${JSON.stringify(opened)}`,
        );
      }
      for (const [family, type, protocol] of [
        [1, 1, 0],
        [2, 2, 0],
        [2, 3, 255],
        [2, 1, 262],
        [10, 1, 0],
        [16, 3, 0],
        [17, 3, 0x300],
        [40, 1, 0],
      ] as const)
        assert.deepEqual(await makes('socket', family, type, protocol), { answer: -1 });
      assert.deepEqual(await makes('unshare', 0x10000000), { answer: -1 });
      // Being reached, by the socket that it may make and by what it has.
      const made = await makes('socket', 2, 1, 0);
      assert.ok('answer' in made && made.answer > 2, JSON.stringify(made));
      for (const [name, ...args] of [
        ['listen', made.answer, 9],
        ['accept', made.answer, 0, 0],
        ['accept4', made.answer, 0, 0, 0],
        ['recvmsg', 3, 0, 0],
        ['shmget', 0x6b777972, 4096, 0o1666],
        ['mknodat', -100, 0, 0o010666, 0],
        ['prctl', 4, 1, 0, 0, 0],
      ] as const)
        assert.deepEqual(await makes(name, ...args), { answer: -1 }, name);
      assert.deepEqual(await makes('ptrace', 16, server.pids()['engine']!, 0, 0), { answer: -1 });
      assert.equal((await server.stop()).code, 0, server.output());
    } finally {
      server.kill();
    }
  });
}
