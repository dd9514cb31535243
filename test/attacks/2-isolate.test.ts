/**
 * Layer 2: the installed form. The real commands of `kwyre isolate` on a machine of the test's own, then attacks as the
 * user that they made, with nothing but the rules in the way; nftables, iptables on nftables, and the legacy tables.
 * Needs root: namespaces, users and rules of the firewall.
 * @module
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { unitCommands } from '../../src/layers/2-isolation/install/systemd-units.ts';
import { asUser } from '../support/identity.ts';
import { addresses, Machine } from '../support/namespace.ts';
import { root, until } from '../support/server.ts';
import { stripped } from '../support/stripped.ts';

const port = 8123;
const service = 4712;
const outsidePort = 4711;
const stranger = 61_234;
const installedNode = join('/opt/kwyre', process.execPath.slice(root.length));
const entry = stripped('test/attacks/entries/unspec-listener.ts');

/** Answers on every address: TCP greets, UDP echoes. */
const echo = `
const hosts = process.argv.slice(1).map((each) => each.split('|'));
let waiting = hosts.length * 2;
const up = () => { waiting -= 1; if (waiting === 0) console.log('up'); };
for (const [host, port] of hosts) {
  require('node:net').createServer((c) => { c.on('error', () => {}); c.end('hello'); }).listen({ host, port: Number(port) }, up);
  const s = require('node:dgram').createSocket(host.includes(':') ? 'udp6' : 'udp4');
  s.on('message', (m, from) => s.send(m, from.port, from.address));
  s.bind(Number(port), host, up);
}`;

/** Tries one way and prints what came of it. */
const attempt = `
const [kind, host, port] = process.argv.slice(1);
const done = (word) => { console.log(word); process.exit(); };
setTimeout(() => done('TIMEOUT'), 2500);
if (kind === 'tcp') { const s = require('node:net').connect({ host, port: Number(port) }); s.on('data', () => done('answered')); s.on('error', (e) => done(e.code)); }
else { const s = require('node:dgram').createSocket(host.includes(':') ? 'udp6' : 'udp4'); s.on('error', (e) => done(e.code)); s.on('message', () => done('answered'));
  s.send(kind === 'dns' ? Buffer.from('000101000001000000000000047465737407696e76616c69640000010001', 'hex') : 'x', Number(port), host, (e) => { if (e) done(e.code); }); }`;

/** What an attempt may end with: the kernel's refusal at once, never a time-out or a refused connection. */
const refusals = /^(EPERM|EACCES|EHOSTUNREACH|ENETUNREACH)$/;

type Commands = readonly (readonly string[])[];
type Kind = {
  readonly name: string;
  readonly prepare: Commands;
  readonly snapshot: Commands;
  readonly foreign: Commands;
  readonly takeAway: Commands;
  readonly loose: Commands;
};

const legacy = (variant: string): Kind => ({
  name: `iptables (${variant}), nft hidden`,
  prepare: [
    ['mount', '--bind', '/dev/null', '/usr/sbin/nft'],
    ...['iptables', 'iptables-save', 'iptables-restore', 'ip6tables', 'ip6tables-save', 'ip6tables-restore'].map(
      (tool) => ['ln', '-sfn', `/usr/sbin/${tool.replace('tables', `tables-${variant}`)}`, `/etc/alternatives/${tool}`],
    ),
    ['iptables', '-A', 'OUTPUT', '-p', 'tcp', '--dport', '9999', '-j', 'ACCEPT'],
  ],
  snapshot: [
    ['iptables', '-S'],
    ['ip6tables', '-S'],
  ],
  foreign: [
    ['iptables', '-N', 'KWYRE-ISOLATE'],
    ['iptables', '-A', 'KWYRE-ISOLATE', '-p', 'udp', '-j', 'ACCEPT'],
  ],
  takeAway: [
    ['iptables', '-F', 'KWYRE-ISOLATE'],
    ['iptables', '-X', 'KWYRE-ISOLATE'],
  ],
  loose: [['iptables', '-D', 'OUTPUT', '1']],
});

const kinds: readonly Kind[] = [
  {
    name: 'nftables',
    prepare: [
      ['nft', 'add table inet others { chain keep { type filter hook output priority 5; tcp dport 9999 accept; } ; }'],
    ],
    snapshot: [['nft', 'list', 'ruleset']],
    foreign: [
      ['nft', 'add table inet kwyre { chain theirs { type filter hook output priority 0; udp dport 9998 accept; } ; }'],
    ],
    takeAway: [['nft', 'delete', 'table', 'inet', 'kwyre']],
    loose: [['nft', 'flush', 'chain', 'inet', 'kwyre', 'isolate_output']],
  },
  legacy('nft'),
  legacy('legacy'),
];

for (const kind of kinds) {
  describe(kind.name, () => {
    const machine = new Machine();
    let rulesBefore = '';
    let usersBefore = '';
    let uid = 0;

    const rules = () => kind.snapshot.map((command) => machine.run(...command)).join('\n');
    const users = () =>
      ['passwd', 'group', 'shadow', 'gshadow'].map((name) => machine.run('cat', `/etc/${name}`)).join('\n');
    const left = () => machine.run('find', '/etc', '/opt', '/var/lib', '-iname', '*kwyre*');
    const isolate = (...args: string[]) => machine.try(join(root, 'kwyre'), 'isolate', ...args);
    const tryAs = (who: number, ...args: [kind: string, host: string, port: number]) =>
      machine.run(...asUser(who, [installedNode, '-e', attempt, ...args.map(String)])).trim();
    type Told = {
      readonly status: string;
      readonly checks: { readonly id: string; readonly status: string; readonly evidence: string }[];
    };
    const told = () => {
      const ran = isolate('status', '--json');
      return { code: ran.status, ...(JSON.parse(ran.stdout) as Told) };
    };
    const check = (id: string) => told().checks.find((each) => each.id === id)!;

    before(async () => {
      await machine.start();
      for (const command of kind.prepare) machine.run(...command);
      machine.run('useradd', '--uid', String(stranger), '--no-create-home', 'ada');
      rulesBefore = rules();
      usersBefore = users();
      const inside = machine.spawn(
        machine.enter(process.execPath, '-e', echo, `127.0.0.1|${service}`, `::1|${service}`, '127.0.0.53|53'),
      );
      const outside = machine.spawn(
        machine.enterOutside(
          process.execPath,
          '-e',
          echo,
          `${addresses.there.four}|${outsidePort}`,
          `${addresses.there.six}|${outsidePort}`,
          `${addresses.there.four}|53`,
        ),
      );
      await until('the services', () => [inside, outside].every((each) => each.output().includes('up')));
    });
    after(async () => {
      await machine.stop();
    });

    test('C7 what others made is refused and stays as it is', () => {
      for (const command of kind.foreign) machine.run(...command);
      const now = rules();
      const refused = isolate('install', '--port', String(port), '--owner', 'ada');
      assert.equal(refused.status, 12, refused.stderr);
      assert.match(refused.stderr, /already exists and was not created by/);
      assert.equal(rules(), now);
      assert.equal(users(), usersBefore);
      assert.equal(left(), '');
      for (const command of kind.takeAway) machine.run(...command);
      assert.equal(rules(), rulesBefore);
    });

    test('C7 an installation that fails in the middle leaves what was there before', () => {
      machine.run('mkdir', '/etc/systemd/system/kwyre.service');
      const failed = isolate('install', '--port', String(port), '--owner', 'ada');
      assert.equal(failed.status, 12, failed.stdout);
      assert.match(failed.stderr, /every step before it was undone/);
      machine.run('rmdir', '/etc/systemd/system/kwyre.service');
      assert.equal(rules(), rulesBefore);
      assert.equal(users(), usersBefore);
      assert.equal(left(), '');
    });

    test('C7 plan names every command and changes nothing; install does them', () => {
      const planned = isolate('plan', '--json', '--port', String(port), '--owner', 'ada');
      assert.equal(planned.status, 0, planned.stderr);
      assert.equal(rules(), rulesBefore);
      assert.equal(users(), usersBefore);
      assert.equal(left(), '');
      const { steps } = JSON.parse(planned.stdout) as {
        steps: { id: string; actions: { do: string; argv?: string[]; text?: string | null; secret?: boolean }[] }[];
      };
      assert.deepEqual(
        steps.map((step) => step.id),
        ['record', 'account', 'rules', 'program', 'state', 'access', 'units', 'boot'],
      );
      for (const { actions } of steps)
        for (const { secret, text } of actions) if (secret === true) assert.equal(text, null);
      const installed = isolate('install', '--json', '--port', String(port), '--owner', 'ada');
      assert.equal(installed.status, 0, installed.stderr);
      const done = JSON.parse(installed.stdout) as { changed: string[]; uid: number };
      assert.deepEqual(
        done.changed,
        steps.map((step) => step.id),
      );
      uid = done.uid;
      assert.ok(uid > 0);
      assert.doesNotMatch(readFileSync('/etc/passwd', 'utf8'), /^kwyre:/m, 'the real machine has no such user');
    });

    test('C7 the user has no shell, no home, no password and no other group', () => {
      const [line = '', shadow = ''] = ['passwd', 'shadow'].map((name) =>
        machine.run('grep', '^kwyre:', `/etc/${name}`).trim(),
      );
      assert.match(line, new RegExp(`^kwyre:x:${uid}:${uid}:Kwyre:/nonexistent:/usr/sbin/nologin$`));
      assert.match(shadow, /^kwyre:[!*]+:/);
      assert.equal(machine.run('id', '-Gn', 'kwyre').trim(), 'kwyre');
      assert.notEqual(machine.try('su', 'kwyre', '-c', 'true').status, 0, 'nobody becomes it through a shell');
      assert.equal(machine.run('stat', '-c', '%U %a', '/var/lib/kwyre').trim(), 'kwyre 700');
      assert.equal(machine.run('stat', '-c', '%U %a', '/opt/kwyre').trim(), 'root 755');
      assert.equal(
        machine
          .run('find', '/opt/kwyre', '(', '-perm', '/7022', '-o', '-not', '-user', 'root', ')', '-not', '-type', 'l')
          .trim(),
        '',
      );
    });

    test('C7 doing it again does nothing', () => {
      const [now, files] = [rules(), users()];
      const again = isolate('install', '--json');
      assert.equal(again.status, 0, again.stderr);
      assert.deepEqual((JSON.parse(again.stdout) as { changed: string[] }).changed, []);
      assert.deepEqual([rules(), users()], [now, files]);
    });

    const targets: readonly [ids: string, kind: string, host: string, port: number][] = [
      ['L2-01 L2-11 TCP to another machine', 'tcp', addresses.there.four, outsidePort],
      ['L2-02 TCP to another machine, IPv6', 'tcp', addresses.there.six, outsidePort],
      ['L2-04 UDP to another machine', 'udp', addresses.there.four, outsidePort],
      ['L2-02 UDP to another machine, IPv6', 'udp', addresses.there.six, outsidePort],
      ['L2-03 DNS to another machine', 'dns', addresses.there.four, 53],
      ['L2-03 DNS to the resolver of this machine', 'dns', '127.0.0.53', 53],
      ['L2-03 DNS over TCP to the resolver of this machine', 'tcp', '127.0.0.53', 53],
      ['L2-05 another service on loopback', 'tcp', '127.0.0.1', service],
      ['L2-05 another service on loopback, IPv6', 'tcp', '::1', service],
      ['L2-05 another service on loopback, UDP', 'udp', '127.0.0.1', service],
      ['L2-05 another service on loopback, UDP and IPv6', 'udp', '::1', service],
    ];
    for (const [ids, way, host, target] of targets) {
      test(`C7 C9 ${ids}: the rules alone hold it, for this user only`, () => {
        assert.equal(tryAs(stranger, way, host, target), 'answered', 'the setting itself works');
        assert.match(tryAs(uid, way, host, target), refusals);
      });
    }

    test('C9 no packet of the user reaches the wire', () => {
      // Run outside the mounts of the machine, where nft may be hidden.
      machine.outside(
        'nft',
        'add table inet seen { chain arrived { type filter hook input priority 0; meta l4proto { tcp, udp, sctp, icmp } counter; } ; }',
      );
      const seen = () => Number(/packets (\d+)/.exec(machine.outside('nft', 'list', 'table', 'inet', 'seen'))?.[1]);
      for (const [, way, host, target] of targets.slice(0, 5)) tryAs(uid, way, host, target);
      assert.equal(seen(), 0);
      tryAs(stranger, 'tcp', addresses.there.four, outsidePort);
      assert.ok(seen() > 0, 'the counter counts');
    });

    /** A listener that root hands over, as systemd does: the first connection starts the command as the user. */
    const activate = (command: readonly string[], on = port) =>
      machine.spawn(machine.enter('systemd-socket-activate', '--listen', `127.0.0.1:${on}`, ...asUser(uid, command)));
    const listens = async (on = port) =>
      await until('the listener', () => machine.run('ss', '-ltnH').includes(`127.0.0.1:${on} `), 10_000);
    const knock = async (on: number) => {
      await listens(on);
      machine.try(
        process.execPath,
        '-e',
        `require('node:net').connect(${on}, '127.0.0.1').on('error', () => {}); setTimeout(() => process.exit(), 300)`,
      );
    };

    test('L2-22 the listener that root made cannot be turned into a client', async () => {
      // Its owner is root, so that the rule about the user does not see it; the rule about the listener's port does.
      for (const [on, reached] of [
        [port, /^(EPERM|EACCES|EHOSTUNREACH)$/],
        [port + 1, /^connected$/],
      ] as const) {
        const hostile = activate([installedNode, '--disable-warning=ExperimentalWarning', entry, String(service)], on);
        await knock(on);
        const answer = await until(
          'the answer',
          () => /"undone":"connected","reached":"(\w+)"/.exec(hostile.output())?.[1],
          10_000,
        );
        assert.match(
          answer,
          reached,
          on === port ? 'the rule holds it' : 'the attack works where the rule does not look',
        );
      }
    });

    test('C7 the commands of the units load the rules at boot, also where they were taken away', () => {
      for (const command of kind.loose) machine.run(...command);
      assert.equal(check('rules').status, 'degraded');
      assert.equal(check('attempt').status, 'degraded', 'the attempt gets out, and that is told');
      assert.equal(told().code, 12);
      const commands = unitCommands(machine.run('cat', '/etc/systemd/system/kwyre-firewall.service'));
      assert.ok(commands.length > 0);
      for (let boot = 0; boot < 2; boot += 1)
        for (const { argv, mayFail } of commands)
          assert.ok(machine.try(...argv).status === 0 || mayFail === true, argv.join(' '));
      for (const id of ['rules', 'attempt', 'boot']) assert.equal(check(id).status, 'enforced', check(id).evidence);
      for (const link of ['multi-user.target.wants/kwyre-firewall.service', 'sockets.target.wants/kwyre.socket'])
        assert.notEqual(machine.run('readlink', '-e', `/etc/systemd/system/${link}`).trim(), '');
    });

    test('C6 the installed server answers its person and nobody else, as its user, behind the rules', async () => {
      const [unit] = unitCommands(machine.run('cat', '/etc/systemd/system/kwyre.service'));
      const server = activate(unit!.argv);
      await listens();
      const ask = (who: number) =>
        machine.try(...asUser(who, ['env', 'HOME=/nonexistent', '/opt/kwyre/kwyre', 'status', '--json']));
      const first = ask(stranger);
      // What it said is read in the next turns only.
      if (first.status !== 0)
        await until('the reason', () => server.child.exitCode !== null, 5000).catch(() => undefined);
      assert.equal(first.status, 0, `${first.stderr} ${server.output()}`);
      const status = JSON.parse(first.stdout) as {
        pid: number;
        layers: { checks: { id: string; status: string; evidence: string }[] }[];
      };
      assert.match(
        readFileSync(`/proc/${status.pid}/status`, 'latin1'),
        new RegExp(`^Uid:\\s+${uid}\\s+${uid}\\s+${uid}\\s+${uid}$`, 'm'),
      );
      assert.equal(status.layers[0]!.checks.find((each) => each.id === 'listener')!.status, 'enforced');
      const seen = (layer: number, id: string) => status.layers[layer - 1]!.checks.find((each) => each.id === id)!;
      for (const role of ['gateway', 'engine']) assert.equal(seen(2, `${role}.own-user`).status, 'enforced');
      await until(
        'the first scan, in the strict profile',
        () => ask(stranger).stdout.includes('profile installed'),
        10_000,
      );
      assert.notEqual(ask(stranger + 1).status, 0, 'another user has no token');
      const token = machine.run('cat', `/var/lib/kwyre-access/${stranger}/token`).trim();
      assert.ok(!machine.run('cat', '/var/lib/kwyre/tokens.json').includes(token));
      assert.equal(
        machine.run(
          'stat',
          '-c',
          '%u %a',
          `/var/lib/kwyre-access/${stranger}`,
          `/var/lib/kwyre-access/${stranger}/token`,
        ),
        `${stranger} 700\n${stranger} 600\n`,
      );
      assert.notEqual(
        machine.try(...asUser(stranger + 1, ['cat', `/var/lib/kwyre-access/${stranger}/token`])).status,
        0,
      );
      // Nobody answers clients that say `localhost`, also if the server has no [::1] to hold: one of our own takes it
      // first.
      process.kill(status.pid, 'SIGTERM');
      await until('the end of the server', () => !existsSync(`/proc/${status.pid}`));
      const squatter = machine.spawn(
        machine.enter(
          process.execPath,
          '-e',
          `require('node:net').createServer((c) => c.end('evil')).listen(${port}, '::1', () => console.log('up'))`,
        ),
      );
      await until('the squatter', () => squatter.output() !== '');
      assert.match(tryAs(stranger, 'tcp', '::1', port), /^(ECONNREFUSED|ECONNRESET)$/);
    });

    test('C7 a rule of somebody else under our names stops the removal; without it nothing is left', () => {
      for (const command of kind.foreign.filter((words) => !words.includes('-N'))) machine.run(...command);
      const refused = isolate('remove');
      assert.equal(refused.status, 12, refused.stdout);
      assert.match(machine.run('cat', '/etc/passwd'), /^kwyre:/m);
      if (kind.name === 'nftables') machine.run('nft', 'delete', 'chain', 'inet', 'kwyre', 'theirs');
      else machine.run('iptables', '-D', 'KWYRE-ISOLATE', '-p', 'udp', '-j', 'ACCEPT');
      const removed = isolate('remove', '--json');
      assert.equal(removed.status, 0, removed.stderr);
      assert.equal(rules(), rulesBefore);
      assert.equal(users(), usersBefore);
      assert.equal(left(), '');
      assert.equal(told().status, 'off');
      assert.deepEqual((JSON.parse(isolate('remove', '--json').stdout) as { changed: string[] }).changed, []);
    });
  });
}
