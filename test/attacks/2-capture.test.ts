/**
 * Layer 2 with a capture on the way out (L2-01, L2-04, L2-11, L2-12, L2-20): a network of the test's own, another
 * machine at its end, and not one packet of any role, whichever lock stands alone; the control shows that the capture
 * would have seen it.
 *
 * Needs root: network namespaces and a capture.
 * @module
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { egressAttempts } from '../../src/layers/2-isolation/probe/egress-attempts.ts';
import { blockedAlone, isBlocked, locks, featuresToDisable } from '../../src/layers/2-isolation/probe/probe-verdict.ts';
import type { Lock } from '../../src/layers/2-isolation/probe/probe-verdict.ts';
import { localAttemptsOf } from '../../src/layers/2-isolation/probe/local-attempts.ts';
import { addresses, Machine } from '../support/namespace.ts';
import type { Running } from '../support/namespace.ts';
import { root, until } from '../support/server.ts';
import { stripped } from '../support/stripped.ts';

const machine = new Machine();
let capture: Running;
const port = 9;

before(async () => {
  await machine.start();
  // Nothing but what a program sends: without IPv6 no neighbour is looked for by the kernel itself.
  machine.run('sysctl', '-qw', 'net.ipv6.conf.in0.disable_ipv6=1');
  machine.outside('sysctl', '-qw', 'net.ipv6.conf.out0.disable_ipv6=1');
  // Both ends know each other: no question of the kernel's own (ARP), however long after a packet of the control.
  const peer = /link\/ether (\S+)/.exec(machine.outside('ip', 'link', 'show', 'out0'))?.[1] ?? '';
  machine.run('ip', 'neigh', 'replace', addresses.there.four, 'lladdr', peer, 'nud', 'permanent', 'dev', 'in0');
  const own = /link\/ether (\S+)/.exec(machine.run('ip', 'link', 'show', 'in0'))?.[1] ?? '';
  machine.outside('ip', 'neigh', 'replace', addresses.here.four, 'lladdr', own, 'nud', 'permanent', 'dev', 'out0');
  machine.run('ip', 'route', 'add', 'default', 'via', addresses.there.four);
  capture = machine.spawn(machine.enterOutside('tcpdump', '-i', 'out0', '-n', '-l', '--immediate-mode'));
  await until('the capture', () => capture.output().includes('listening on'));
});
after(() => machine.stop());

/** Packets so far, one a line. */
function packets(): string[] {
  return capture
    .output()
    .split('\n')
    .filter((line) => /^\d\d:\d\d:\d\d\./.test(line));
}

type Answered = { readonly answers: [string, number][]; readonly complete: boolean; readonly output: string };

function probeThere(
  role: string,
  without: readonly string[],
  attempts: readonly string[],
  address: string = addresses.there.four,
): Map<string, number> {
  const ran = machine.try(
    process.execPath,
    '--disable-warning=ExperimentalWarning',
    stripped('test/attacks/entries/run-probe.ts'),
    role,
    without.join(','),
    address,
    String(port),
    attempts.join(','),
  );
  assert.equal(ran.status, 0, ran.stderr);
  const { answers, complete, output } = JSON.parse(ran.stdout) as Answered;
  assert.ok(complete, output);
  return new Map(answers);
}

/** What went over the wire meanwhile. */
async function during(act: () => void): Promise<string[]> {
  await sleep(200);
  const from = packets().length;
  act();
  await sleep(300);
  return packets().slice(from);
}

const remote = ['tcp', 'udp'];

test('the control: without any lock a role reaches the other machine, and the capture sees it', async () => {
  const seen = await during(() => {
    const answers = probeThere('engine', Object.values(locks).flat(), remote);
    for (const way of remote) assert.ok(!isBlocked(answers.get(way) ?? -1), way);
  });
  assert.ok(
    seen.some((line) => line.includes(`> ${addresses.there.four}.${port}: Flags [S]`)),
    seen.join('\n'),
  );
  assert.ok(
    seen.some((line) => line.includes('UDP')),
    seen.join('\n'),
  );
});

for (const role of ['gateway', 'engine', 'watchdog'] as const) {
  test(`the ${role} in its whole jail tries every way and every local: zero packets`, async () => {
    const attempts = [...Object.keys(egressAttempts), ...localAttemptsOf(role)];
    const seen = await during(() => {
      for (const address of [addresses.there.four, '8.8.8.8', '169.254.169.254', '224.0.0.251', '255.255.255.255']) {
        const answers = probeThere(role, [], address === addresses.there.four ? attempts : remote, address);
        assert.deepEqual(
          [...answers].filter(([, answer]) => !isBlocked(answer)),
          [],
        );
      }
    });
    assert.deepEqual(seen, []);
  });

  for (const alone of Object.keys(locks) as Lock[]) {
    if (alone === 'landlock' && role === 'watchdog') continue;
    test(`${alone} alone in the ${role}: zero packets by what it holds (${blockedAlone[alone].join(', ')})`, async () => {
      const seen = await during(() => {
        const answers = probeThere(role, featuresToDisable(alone), blockedAlone[alone]);
        assert.deepEqual(
          [...answers].filter(([, answer]) => !isBlocked(answer)),
          [],
        );
      });
      assert.deepEqual(seen, []);
    });
  }
}

test('a hostile supervisor after its filter tries its whole list at the other machine: zero packets (L2-23); the control is seen', async () => {
  const run = (...mode: string[]) =>
    machine.try(
      process.execPath,
      '--disable-warning=ExperimentalWarning',
      stripped('test/attacks/entries/hostile-supervisor.ts'),
      addresses.there.four,
      String(port),
      '/run/nobody',
      ...mode,
    );
  const seen = await during(() => {
    const ran = run();
    assert.equal(ran.status, 0, ran.stderr);
    const { tcp, udp, 'local: packet': packet } = JSON.parse(ran.stdout) as Record<string, string>;
    assert.deepEqual([tcp, udp, packet], ['EPERM', 'EPERM', 'EPERM']);
  });
  assert.deepEqual(seen, []);
  const control = await during(() => {
    run('free');
  });
  assert.ok(
    control.some((line) => line.includes(`> ${addresses.there.four}.${port}: Flags [S]`)),
    control.join('\n'),
  );
});

test('a server, its self-probe and every attack of kwyre prove: zero packets (L2-20)', async () => {
  const seen = await during(() => {
    const ran = machine.try(join(root, 'kwyre'), 'prove');
    assert.equal(ran.status, 0, `${ran.stdout.slice(-2000)}${ran.stderr}`);
  });
  assert.deepEqual(seen, []);
});

test('the capture still works at the end', async () => {
  const seen = await during(() => {
    machine.try('ping', '-c', '1', '-W', '1', addresses.there.four);
    probeThere('gateway', Object.values(locks).flat(), ['udp']);
  });
  assert.ok(seen.length > 0);
});
