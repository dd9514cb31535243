/**
 * `kwyre prove`: says held where everything holds, and does not where something was broken; it leaves nothing behind.
 * @module
 */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import type { Proof } from '../../src/cli/prove/attempt.ts';
import { editCode } from '../support/find-code.ts';
import { endWithUs } from '../support/children.ts';
import { copyInstallation } from '../support/copy.ts';
import { asOrdinary } from '../support/identity.ts';
import { starters } from '../support/probe.ts';
import { alive, root, tree, until } from '../support/server.ts';

type Proved = { readonly code: number | null; readonly output: string; readonly pids: readonly number[] };

function start(
  repository: string,
  args: readonly string[],
  uid?: number,
): { child: ChildProcess; output: () => string } {
  const [file = '', ...rest] = asOrdinary(uid, [join(repository, 'kwyre'), 'prove', ...args]);
  const child = spawn(file, rest, {
    cwd: '/',
    env: { PATH: process.env['PATH'], HOME: '/' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  endWithUs(child);
  let output = '';
  for (const pipe of [child.stdout, child.stderr]) pipe.on('data', (chunk: Buffer) => (output += chunk.toString()));
  return { child, output: () => output };
}

/** Folders of second servers that were started below a process. */
function folders(): string[] {
  return readdirSync(tmpdir()).filter((name) => name.startsWith('kwyre-prove-'));
}

async function prove(repository: string, args: readonly string[], uid?: number): Promise<Proved> {
  const { child, output } = start(repository, args, uid);
  const pids = new Set<number>();
  const timer = setInterval(() => {
    for (const pid of tree(child.pid ?? 0)) pids.add(pid);
  }, 100);
  const [code] = (await once(child, 'close')) as [number | null];
  clearInterval(timer);
  return { code, output: output(), pids: [...pids] };
}

const parse = ({ output }: Proved): { exitCode: number; proofs: Proof[] } =>
  JSON.parse(output) as { exitCode: number; proofs: Proof[] };

for (const { who, uid } of starters) {
  test(`${who} proves this installation: every attempt is held that this user can make, nothing is left behind`, async () => {
    const before = folders();
    const proved = await prove(root, ['--json'], uid);
    const { exitCode, proofs } = parse(proved);
    // Only root looks into the memory of others: for anyone else that is said, and is no success.
    const asRoot = process.getuid?.() === 0 && uid === undefined;
    assert.deepEqual(
      proofs.filter((proof) => proof.verdict === 'breached'),
      [],
    );
    assert.deepEqual(
      proofs.filter((proof) => proof.verdict === 'not-proved').map((proof) => `${proof.layer} ${proof.got}`),
      asRoot
        ? []
        : Array.from(
            { length: 3 },
            () =>
              '5 not tried: only root can read its memory; as root, in an installation that only root can change: ./kwyre prove --layer 5',
          ),
    );
    assert.equal(proved.code, asRoot ? 0 : 1);
    assert.equal(exitCode, proved.code);
    assert.equal(
      proofs.filter((proof) => proof.attempt.startsWith('control') && proof.verdict === 'held').length,
      asRoot ? 1 : 0,
    );
    if (!asRoot) assert.equal(proofs.filter((proof) => proof.ids === 'L6-02' && proof.got.includes('EPERM')).length, 4);
    for (const id of ['L1-01', 'L1-18', 'L2-01', 'L2-21', 'L2-22', 'L2-24', 'L5-19'])
      assert.ok(
        proofs.some((proof) => proof.ids.includes(id)),
        id,
      );
    for (const where of ['server', 'gateway', 'engine', 'watchdog'])
      assert.ok(
        proofs.some((proof) => proof.where === where),
        where,
      );
    assert.ok(proved.pids.length > 4, 'a second server really ran');
    await until('every process to end', () => proved.pids.every((pid) => !alive(pid)), 3000);
    assert.deepEqual(
      folders().filter(
        (name) => !before.includes(name) && statSync(join(tmpdir(), name)).uid === (uid ?? process.getuid?.()),
      ),
      [],
    );
  });
}

test('for people: attempt, expected and got, and a last line that sums up', async () => {
  const { code, output } = await prove(root, ['--layer', '1']);
  assert.equal(code, 0, output);
  assert.match(
    output,
    /held {8}a web page whose name resolves to this machine.*\[L1-01\]\n +expected: refused with 403; got: 403\n/,
  );
  assert.match(output, /\nthe defences held against (\d+) of \1 attempts\n$/);
  assert.doesNotMatch(output, /layer 2/);
});

test('a layer without attempts is refused, not taken for proved', async () => {
  for (const args of [['--layer', '3'], ['--layer', 'x'], ['--fast']]) assert.equal((await prove(root, args)).code, 2);
});

/** A copy of the installation with one file of its source changed. */
function broken(file: string, change: (path: string) => void): ReturnType<typeof copyInstallation> {
  const copy = copyInstallation(true);
  change(join(copy.path, file));
  spawnSync(join(copy.path, 'kwyre'), ['--version'], { cwd: '/' });
  return copy;
}

test('a guard that lets foreign names through: breached, 11', async () => {
  using copy = broken('src/layers/1-loopback/request-guard.ts', (path) => {
    editCode(path, 'refusalOfHost(received, port) ??', '');
  });
  const proved = await prove(copy.path, ['--json', '--layer', '1']);
  assert.equal(proved.code, 11);
  assert.ok(
    parse(proved).proofs.some(
      (proof) => proof.ids === 'L1-01' && proof.verdict === 'breached' && proof.got.includes('200'),
    ),
  );
});

test('a policy that lets roles make children: breached, 12, although the server starts', async () => {
  using copy = broken('src/policy/conditional-calls.ts', (path) => {
    const rule = (action: string) => `{ call: 'clone', action: '${action}', when: { argument: 0, mask: 0, is: 0 },`;
    editCode(path, rule('kill'), rule('allow'));
  });
  const proved = await prove(copy.path, ['--json']);
  assert.equal(proved.code, 12, proved.output.slice(0, 500));
  const { proofs } = parse(proved);
  assert.deepEqual(
    [...new Set(proofs.filter((proof) => proof.verdict === 'breached').map((proof) => proof.attempt))],
    ['a child process (clone)'],
  );
  assert.ok(proofs.filter((proof) => proof.layer === 1).every((proof) => proof.verdict === 'held'));
});

test('a policy that lets sockets through: the server refuses its start, layer 1 is NOT PROVED, and it is 12', async () => {
  using copy = broken('src/policy/forbidden-calls.ts', (path) => {
    const text = readFileSync(path, 'utf8');
    const without = text.replaceAll(/^ {2}\[\s*'(?:socket|connect)',[^\]]*\],\n/gm, '');
    assert.notEqual(without, text);
    writeFileSync(path, without);
    const calls = "export const runtimeCalls = [['socket', 'x'], ['connect', 'x'], ['sendto', 'x'],";
    editCode(join(dirname(path), 'runtime-calls.ts'), 'export const runtimeCalls = [', calls);
  });
  const proved = await prove(copy.path, []);
  assert.equal(proved.code, 12, proved.output);
  assert.match(proved.output, /NOT PROVED {2}.*\n.*did not start: a probe escaped/);
  assert.match(proved.output, /BREACHED .*another program's Unix socket/);
});

test('a server that cannot start: NOT PROVED, and 1', async () => {
  using copy = copyInstallation(true);
  rmSync(join(copy.path, 'models'), { recursive: true });
  const proved = await prove(copy.path, ['--layer', '1']);
  assert.equal(proved.code, 1, proved.output);
  assert.match(proved.output, /NOT PROVED/);
  assert.doesNotMatch(proved.output, /held {8}/);
});

function nameOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'latin1');
  } catch {
    return '';
  }
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  test(`${signal} in the middle: the second server ends, its folder is gone, and nothing is said to be proved`, async () => {
    const before = folders();
    const { child, output } = start(root, []);
    const own = await until('the second server', () => {
      const pids = tree(child.pid ?? 0);
      return pids.some((pid) => nameOf(pid).startsWith('kwyre: engine')) && pids;
    });
    child.kill(signal);
    const [code] = (await once(child, 'close')) as [number | null];
    assert.equal(code, signal === 'SIGINT' ? 130 : 143);
    assert.match(output(), /interrupted; nothing was proved/);
    await until('every process to end', () => own.every((pid) => !alive(pid)), 3000);
    assert.deepEqual(
      folders().filter((name) => !before.includes(name)),
      [],
    );
  });
}
