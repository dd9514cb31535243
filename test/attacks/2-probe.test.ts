/**
 * Layer 2: the self-probe tells the truth (L2-09, L2-10, L2-24). In a whole jail everything is held; where a lock is
 * missing it says so, and the server does not start, or ends.
 * @module
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { egressAttempts } from '../../src/layers/2-isolation/probe/egress-attempts.ts';
import { isBlocked, judgeAnswers, locks, attemptsFor } from '../../src/layers/2-isolation/probe/probe-verdict.ts';
import { probeRole } from '../../src/layers/2-isolation/probe/probe-runner.ts';
import type { ProbeResult } from '../../src/layers/2-isolation/probe/probe-runner.ts';
import { SelfProbe } from '../../src/supervisor/roles/self-probe.ts';
import { copyInstallation } from '../support/copy.ts';
import { editCode, editMatches } from '../support/find-code.ts';
import { aimAt, jailFor, probe, programsFor, starters } from '../support/probe.ts';
import { launch, root, until } from '../support/server.ts';
import { stripped } from '../support/stripped.ts';

const { aim, service, reached } = await aimAt();
after(() => service.close());
const ways = Object.keys(egressAttempts);
const everyLock = Object.values(locks).flat();

for (const { who, uid } of starters) {
  for (const role of ['gateway', 'engine', 'watchdog'] as const) {
    test(`in the jail of the ${role}, started by ${who}, every egress attempt is blocked`, async () => {
      const result = await probeRole(programsFor(uid), { role, alone: undefined }, jailFor(uid), aim);
      assert.equal(result.status, 'blocked', `${result.reason} ${JSON.stringify([...result.answers])}`);
      assert.deepEqual([...result.answers.keys()], ways);
    });
  }

  test(`L2-10 without any lock the probe of ${who} says that everything got out`, async () => {
    const before = reached();
    const { answers, output } = await probe(uid, 'gateway', aim, ways, everyLock);
    assert.deepEqual(
      judgeAnswers(ways, answers),
      { out: ways, missing: [] },
      `${output} ${JSON.stringify([...answers])}`,
    );
    assert.ok(reached() > before, 'the positive control: the other service was really reached');
  });

  test(`the kill is real: the unmodified filter kills the process of ${who}`, async () => {
    const { signal, answers } = await probe(uid, 'engine', aim, ['udp'], [], true);
    assert.equal(signal, 'SIGSYS');
    assert.equal(answers.size, 0);
  });
}

test('with the filter missing, the namespace and Landlock still hold TCP, and Fast Open is seen to get out (L2-21)', async () => {
  const uid = starters[0]!.uid;
  const { answers } = await probe(uid, 'gateway', aim, ways, locks.seccomp);
  assert.ok(judgeAnswers(ways, answers).out.includes('listener-fastopen'), JSON.stringify([...answers]));
  for (const way of attemptsFor('landlock')) assert.ok(isBlocked(answers.get(way) ?? 0), way);
});

test('nobody but the probe may run with a part of the jail', () => {
  const order = JSON.stringify({
    attempts: [],
    without: ['landlock-files'],
    deadly: false,
    machine: [127, 0, 0, 1],
    closedPort: 9,
    servedPort: 9,
  });
  for (const entry of ['src/gateway/main.ts', 'test/attacks/entries/hostile.ts']) {
    const ran = spawnSync(
      process.execPath,
      [
        '--disable-warning=ExperimentalWarning',
        stripped('src/jail/main.ts'),
        'gateway',
        stripped(entry),
        JSON.stringify({ ...jailFor(undefined), probe: order }),
      ],
      { env: {}, cwd: '/', encoding: 'latin1', stdio: ['ignore', 'ignore', 'pipe', 'pipe'] },
    );
    assert.equal(ran.status, 12, ran.stderr);
    assert.match(ran.output[3] ?? '', /L2_PROBE_ONLY/);
  }
});

test('the probe refuses a start by itself: without what it needs it says why', async () => {
  const programs = programsFor(undefined);
  const probes = new SelfProbe({
    programs: { ...programs, probe: join(root, 'src/probe/nowhere.ts') },
    jail: () => jailFor(undefined),
    ownPort: () => aim.servedPort,
    readTable: () => '',
    readThreads: () => [],
    inherited: () => 0,
    now: () => 0,
    onEscape: () => assert.fail('nothing got out'),
    onLocksTried: () => undefined,
  });
  await assert.rejects(probes.start(), { code: 'L2_PROBE_FAILED' });
  probes.stop();
});

test('the jail of the gateway is tried at the start, then the others and each lock alone; the checks say so', async () => {
  const out: ProbeResult[] = [];
  let tried = false;
  const status = readFileSync('/proc/self/status', 'latin1');
  const probes = new SelfProbe({
    programs: programsFor(undefined),
    jail: () => jailFor(undefined),
    ownPort: () => aim.servedPort,
    readTable: (name) => readFileSync(`/proc/self/net/${name}`, 'latin1'),
    readThreads: () => [status],
    inherited: () => 0,
    now: () => 7,
    onEscape: (result) => out.push(result),
    onLocksTried: () => {
      tried = true;
    },
  });
  await probes.start();
  const byId = (): Map<string, string> => new Map(probes.checks().map(({ id, status: state }) => [id, state]));
  assert.equal(byId().get('gateway.self-probe'), 'enforced');
  for (const role of ['engine', 'watchdog']) assert.equal(byId().get(`${role}.self-probe`), 'degraded');
  assert.equal(byId().get('seccomp.alone'), 'off');
  await until('every trial', () => tried || undefined);
  for (const role of ['gateway', 'engine', 'watchdog']) {
    assert.equal(byId().get(`${role}.self-probe`), 'enforced');
    assert.equal(byId().get(`${role}.living`), 'degraded', 'this very process has no filter');
  }
  assert.equal(byId().get('seccomp.alone'), 'enforced');
  assert.equal(byId().get('landlock.alone'), 'enforced');
  assert.equal(byId().get('network-namespace.alone'), process.getuid?.() === 0 ? 'enforced' : 'off');
  probes.stop();
  assert.deepEqual(out, []);
});

/** A copy whose policy lets every role make sockets of IPv4 and send. */
function weakened(): ReturnType<typeof copyInstallation> {
  const copy = copyInstallation(true);
  const policy = (name: string) => join(copy.path, 'src/policy', name);
  editMatches(policy('forbidden-calls.ts'), /^ {2}\[\s*'socket',[^\]]*\],\n/, '');
  const allow = "{ call: 'socket', action: 'allow', when: { argument: 0, is: 2 }, reason: 'x' },";
  editCode(policy('conditional-calls.ts'), 'export const conditions = [', `export const conditions = [${allow}`);
  editCode(policy('runtime-calls.ts'), 'runtimeCalls = [', "runtimeCalls = [['sendto', 'x'],");
  spawnSync(join(copy.path, 'kwyre'), ['--version'], { cwd: '/' }); // prepared by its owner
  return copy;
}

const state = mkdtempSync(join(tmpdir(), 'kwyre-weak-'));
chmodSync(state, 0o700);
after(() => {
  rmSync(state, { recursive: true });
});

for (const { who, uid } of starters) {
  const asRoot = process.getuid?.() === 0 && uid === undefined;
  test(`a policy that lets sockets through, started by ${who}: ${asRoot ? 'the other locks hold, and the missing one ends the server' : 'the start is refused'} (L2-09, L2-24)`, async () => {
    using copy = weakened();
    const started = launch({
      repository: copy.path,
      ...(uid === undefined ? {} : { uid }),
      ...(asRoot ? { state } : {}),
    });
    const { code } = await started.ended;
    assert.equal(code, asRoot ? 16 : 12, started.output());
    assert.match(
      started.output(),
      asRoot
        ? /L6_PROBE_ESCAPED: seccomp alone did not block/
        : /a probe escaped: the jail of the gateway did not block UDP/,
    );
  });
}
