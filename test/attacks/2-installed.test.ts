/**
 * Layers 2 and 6 as the installed user: the real installation on a machine of the test's own, the unit's command as the
 * unit's user, then payloads in each of its living roles, with a capture at the other end of the wire.
 *
 * The unit's empty network is left out for the payloads, so that the roles' own locks and the rules stand alone.
 * Needs root: namespaces, users, rules of the firewall, a debugger's rights.
 * @module
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { asUser } from '../support/identity.ts';
import { activate, install, person, startInstalled } from '../support/installed.ts';
import { addresses, Machine } from '../support/namespace.ts';
import { attackRoles } from '../support/payloads.ts';
import type { Server } from '../support/server.ts';
import { alive, call, tree, until } from '../support/server.ts';
import { start, use } from '../support/watchdog.ts';

const machine = new Machine();
const stranger = person + 1;
const acknowledged = ['--acknowledge-violation'];
/** For tests that run debuggers beside it: what they do to it is what counts. */
const withTools = [...acknowledged, ...['gdb', 'strace'].flatMap((tool) => ['--acknowledge-tool', tool])];
const ask = { model: 'guide', max_tokens: 4, messages: [{ role: 'user', content: 'What does layer 2 do?' }] };
let uid = 0;
let packets: () => string[] = () => [];

before(async () => {
  await machine.start();
  packets = await machine.capture();
  uid = install(machine);
  machine.join();
});
after(() => machine.stop());

type Status = {
  readonly layers: {
    readonly layer: number;
    readonly status: string;
    readonly checks: { readonly id: string; readonly status: string; readonly evidence: string }[];
  }[];
};

/** What it says of its layers once the watchdog has looked and the supervisor has put its filter on. */
async function settled(server: Server): Promise<Status> {
  for (let left = 60; ; left -= 1) {
    const status = (await (await call(server, '/kwyre/status')).json()) as Status;
    const scanned = status.layers[5]!.checks.some((check) => check.evidence.includes('profile installed'));
    const confined = status.layers[1]!.checks.some(
      (check) => check.id === 'supervisor.confined' && check.status === 'enforced',
    );
    if ((scanned && confined) || left === 0) return status;
    await sleep(250);
  }
}

test('C6 C7 the unit as it is: an empty network, a user of its own in every process, layer 2 enforced', async (t) => {
  const server = await startInstalled(machine, uid, ['--acknowledge-violation', '--scan-interval', '250'], 'unit');
  t.after(() => {
    server.kill();
  });
  const pids = server.pids();
  assert.deepEqual(Object.keys(pids).sort(), ['engine', 'gateway', 'supervisor', 'watchdog']);
  for (const [role, pid] of Object.entries(pids)) {
    const facts = readFileSync(`/proc/${pid}/status`, 'latin1');
    assert.match(facts, new RegExp(`^Uid:\\s+${uid}\\s+${uid}\\s+${uid}\\s+${uid}$`, 'm'), role);
    assert.match(facts, new RegExp(`^Gid:\\s+${uid}\\s+${uid}\\s+${uid}\\s+${uid}$`, 'm'), role);
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
      assert.match(facts, new RegExp(`^${set}:\\s+0+$`, 'm'), role);
    assert.deepEqual(
      readFileSync(`/proc/${pid}/uid_map`, 'latin1').trim().split(/\s+/).map(Number),
      [0, 0, 1, uid, uid, 1],
      `${role}: PrivateUsers`,
    );
    assert.match(facts, /^NoNewPrivs:\s+1$/m, role);
    assert.match(facts, /^Seccomp:\s+2$/m, role);
    assert.match(
      readFileSync(`/proc/${pid}/net/dev`, 'latin1'),
      /^[^\n]*\n[^\n]*\n\s*lo:[^\n]*\n$/,
      `${role}: nothing but a loopback of its own`,
    );
  }
  assert.equal((await call(server, '/v1/chat/completions', ask)).status, 200);
  // Connections that last over several scans are ours, though they lie in another network than the roles.
  const client = connect(server.port, '127.0.0.1');
  client.on('error', () => undefined);
  const { layers } = await settled(server);
  await sleep(1000);
  client.destroy();
  assert.equal(layers[0]!.status, 'enforced');
  assert.deepEqual(
    layers[1]!.checks.filter((check) => check.status !== 'enforced'),
    [],
  );
  assert.equal(layers[1]!.status, 'enforced');
  assert.equal((await server.stop()).code, 0, server.output());
});

test("L6-13 the unit as it is: a capture of the machine's loopback interface is seen from its empty network", async (t) => {
  const server = await startInstalled(machine, uid, ['--acknowledge-violation', '--scan-interval', '250'], 'unit');
  t.after(() => {
    server.kill();
  });
  use(t, start(['tcpdump', '-i', 'lo', '-w', '/dev/null']));
  const { code } = await Promise.race([server.ended, sleep(20_000, { code: 'it goes on' }, { ref: false })]);
  assert.equal(code, 16, server.output());
  assert.match(server.output(), /capture/);
});

attackRoles(
  'installed, ',
  async () => await startInstalled(machine, uid, acknowledged),
  () => packets(),
);

test('C6 the rules hold the user itself, whatever program it runs, and nobody else', async () => {
  const knock = (who: number) => {
    const [file = '', ...args] = asUser(who, [
      'curl',
      '-s',
      '--max-time',
      '2',
      '-o',
      '/dev/null',
      '-w',
      '%{errormsg}',
      `http://${addresses.there.four}:9/`,
    ]);
    return spawnSync(file, args, { encoding: 'utf8' }).stdout;
  };
  knock(uid);
  await sleep(200);
  assert.deepEqual(packets(), [], 'not one packet of it');
  knock(stranger);
  await until('the packet of another user, which shows that the capture works', () => packets().length > 0);
});

/** What a user can do to a running server of the installed form. */
const tools: readonly (readonly [title: string, command: (pid: number) => readonly string[], refusal: RegExp])[] = [
  ['reads its memory', (pid) => ['dd', `if=/proc/${pid}/mem`, 'of=/dev/null', 'bs=1', 'count=1'], /Permission denied/],
  [
    'attaches gdb',
    (pid) => ['gdb', '-q', '-nx', '-batch', '-p', String(pid)],
    /not permitted|Permission denied|Could not attach/,
  ],
  ['attaches strace', (pid) => ['strace', '-o', '/dev/null', '-p', String(pid)], /not permitted|Permission denied/],
  ['lists its descriptors', (pid) => ['ls', `/proc/${pid}/fd`], /Permission denied/],
  ['reads its environment', (pid) => ['cat', `/proc/${pid}/environ`], /Permission denied/],
];

/** Each tool is refused at each process. */
function assertRefused(who: number, server: Server): void {
  for (const [role, pid] of Object.entries(server.pids())) {
    for (const [title, command, refusal] of tools) {
      const [file = '', ...args] = asUser(who, command(pid));
      const ran = spawnSync(file, args, {
        encoding: 'utf8',
        timeout: 20_000,
        env: { PATH: process.env['PATH'], LC_ALL: 'C' },
      });
      assert.match(`${ran.stdout}${ran.stderr}`, refusal, `${who} ${title}: ${role}`);
    }
  }
}

test('L6-02 L6-10 installed: another user, and the person, get nothing out of any process, and end nothing', async (t) => {
  const server = await startInstalled(machine, uid, [...withTools, '--scan-interval', '250']);
  t.after(() => {
    server.kill();
  });
  for (const who of [stranger, person]) {
    assertRefused(who, server);
    for (const [role, pid] of Object.entries(server.pids())) {
      const [file = '', ...args] = asUser(who, ['kill', '-9', String(pid)]);
      assert.notEqual(spawnSync(file, args).status, 0, `${who} kills ${role}`);
    }
  }
  assert.equal((await call(server, '/v1/chat/completions', ask)).status, 200);
  assert.equal((await server.stop()).code, 0, server.output());
});

test('L6-02 installed: a program of the same user gets nothing out of any process', async (t) => {
  const server = await startInstalled(machine, uid, withTools);
  t.after(() => {
    server.kill();
  });
  assertRefused(uid, server);
  assert.equal((await server.stop()).code, 0, server.output());
});

/** What root does to it, and which detector says so. */
const intrusions: readonly (readonly [
  title: string,
  detector: string,
  command: (server: Server) => readonly string[],
  accepted?: readonly string[],
])[] = [
  [
    'L6-01: root attaches gdb to the engine',
    'tracer',
    (server) => ['gdb', '-q', '-nx', '-p', String(server.pids()['engine'])],
  ],
  [
    'L6-05: root traces every thread of the gateway',
    'tracer',
    (server) => ['strace', '-f', '-o', '/dev/null', '-p', String(server.pids()['gateway'])],
  ],
  ['L6-25: root runs a debugger beside it: the strict profile', 'tools', () => ['gdb', '-q', '-nx'], acknowledged],
];
for (const [title, detector, command, accepted = withTools] of intrusions) {
  test(`installed, ${title}: exit 16, nobody left, and it does not come back`, async (t) => {
    // Time for a debugger to attach between two scans: its program alone counts here too, and a fast watchdog ends
    // first.
    const server = await startInstalled(machine, uid, [...accepted, '--scan-interval', '1500']);
    t.after(() => {
      server.kill();
    });
    assert.equal((await call(server, '/v1/chat/completions', ask)).status, 200);
    const ours = tree(server.pid);
    const from = performance.now();
    const intruder = use(t, start(command(server)));
    const { code } = await Promise.race([server.ended, sleep(20_000, { code: 'it goes on' }, { ref: false })]);
    t.diagnostic(`ended ${Math.round(performance.now() - from)} ms after the attack began`);
    assert.equal(code, 16, server.output());
    assert.deepEqual(ours.filter(alive), []);
    // gdb has a helper for the mounts of its target, which may outlive it.
    const intruders = tree(intruder.pid);
    await intruder.stop();
    for (const pid of intruders.filter(alive)) process.kill(pid, 'SIGKILL');
    await until('the intruder to be gone', () => !intruders.some(alive));
    const marker = JSON.parse(machine.run('cat', '/var/lib/kwyre/violation.json')) as { detector: string };
    assert.equal(marker.detector, detector);
    // Without what was acknowledged: the marker alone decides.
    const again = await activate(machine, uid);
    t.after(again.kill);
    assert.equal((await again.ended).code, 16, again.output());
    assert.match(again.output(), /a violation ended the server at/);
  });
}

test("C7 the server's user can change no file of the program, of the units, of the rules or of the models", () => {
  const writable = (...folders: string[]) =>
    machine.try(...asUser(uid, ['find', ...folders, '-writable', '-not', '-type', 'l'])).stdout;
  assert.equal(writable('/opt/kwyre', '/etc/kwyre', '/etc/systemd/system', '/var/lib/kwyre-access'), '');
  assert.match(writable('/var/lib/kwyre'), /^\/var\/lib\/kwyre$/m, 'the look finds what is its own');
  assert.equal(machine.try(...asUser(uid, ['sh', '-c', 'echo x >> /opt/kwyre/dist/engine/main.js'])).status, 2);
});

test('the person it was installed for has a token that works; nobody else has', async (t) => {
  const server = await startInstalled(machine, uid, acknowledged);
  t.after(() => {
    server.kill();
  });
  const ask = (who: number) =>
    machine.try(...asUser(who, ['env', 'HOME=/nonexistent', '/opt/kwyre/kwyre', 'status', '--json']));
  assert.equal(ask(person).status, 0);
  assert.notEqual(ask(stranger).status, 0);
  assert.equal((await call({ ...server, token: 'x'.repeat(43) }, '/v1/models')).status, 401);
  assert.equal((await server.stop()).code, 0, server.output());
});
