/**
 * The installed server on a machine of the test's own: the real `kwyre isolate install`, then the unit's own command as
 * the unit's user, behind a listener that root hands over. Nothing of the real machine changes.
 * @module
 */
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { unitCommands } from '../../src/layers/2-isolation/install/systemd-units.ts';
import { asUser } from './identity.ts';
import type { Machine } from './namespace.ts';
import type { Ending, Server } from './server.ts';
import { rolesOf, root, tree, until } from './server.ts';

export const installedPort = 8123;
/** The person it is installed for. */
export const person = 61_234;

/**
 * Installs Kwyre there, for a user `ada`; gives the id of the user that it made. The test's thread must have joined the
 * network.
 */
export function install(machine: Machine): number {
  machine.run('useradd', '--uid', String(person), '--no-create-home', 'ada');
  const told = machine.run(
    join(root, 'kwyre'),
    'isolate',
    'install',
    '--json',
    '--port',
    String(installedPort),
    '--owner',
    'ada',
  );
  return (JSON.parse(told) as { uid: number }).uid;
}

/**
 * `alone`: the user, without privilege, in the machine's network. `unit`: with the empty network and the users of the
 * unit (PrivateNetwork, PrivateUsers), beside a process 1 that lives in the machine's network as the service manager
 * does.
 */
export type Form = 'alone' | 'unit';

/**
 * The words that start the unit's command as systemd would: the listener is made by root, the first connection starts
 * it.
 */
function activation(machine: Machine, uid: number, form: Form, extra: readonly string[]): string[] {
  const [unit] = unitCommands(machine.run('cat', '/etc/systemd/system/kwyre.service'));
  const [setpriv = '', ...identity] = asUser(uid, [
    '--no-new-privs',
    '--bounding-set=-all',
    '--',
    ...unit!.argv,
    ...extra,
  ]);
  const listen = ['systemd-socket-activate', '--listen', `127.0.0.1:${installedPort}`];
  if (form === 'alone') return machine.enter(...listen, setpriv, ...identity);
  // PrivateNetwork, then PrivateUsers: it stops until somebody outside has written which ids it has.
  const inside = [
    'unshare',
    '-n',
    '--',
    'unshare',
    '-U',
    '--',
    'sh',
    '-c',
    'kill -STOP $$; exec "$@"',
    'sh',
    setpriv,
    ...identity,
  ];
  return machine.enter(
    'unshare',
    '--pid',
    '--fork',
    '--kill-child',
    '--mount-proc',
    'sh',
    '-c',
    '"$@" & wait $!',
    'sh',
    ...listen,
    ...inside,
  );
}

/**
 * Gives the process that waits for it the ids of the unit: root and its own user are themselves, nobody else is
 * anybody.
 */
async function mapUsers(above: number, uid: number): Promise<void> {
  const stopped = (pid: number) => / T \d/.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  const waiting = await until('the process in its user namespace', () => tree(above).find(stopped));
  writeFileSync(`/proc/${waiting}/uid_map`, `0 0 1\n${uid} ${uid} 1\n`);
  writeFileSync(`/proc/${waiting}/gid_map`, `0 0 1\n${uid} ${uid} 1\n`);
  process.kill(waiting, 'SIGCONT');
}

/** Starts it without waiting for it to be ready: the connection that does it, what it prints, how it ends. */
export async function activate(
  machine: Machine,
  uid: number,
  extra: readonly string[] = [],
  form: Form = 'alone',
): Promise<{ pid: number; output: () => string; ended: Promise<Ending>; kill: () => void }> {
  const { child, output } = machine.spawn(activation(machine, uid, form, extra));
  const ended: Promise<Ending> = once(child, 'close').then(([code, signal]) => ({ code, signal }));
  await until('the listener', () => machine.run('ss', '-ltnH').includes(`127.0.0.1:${installedPort} `), 10_000);
  const first = connect(installedPort, '127.0.0.1');
  first.on('error', () => undefined);
  await Promise.race([once(first, 'connect'), sleep(5000)]);
  first.destroy();
  if (form === 'unit') await mapUsers(child.pid!, uid);
  return { pid: child.pid!, output, ended, kill: () => child.kill('SIGKILL') };
}

/** The supervisor as this process numbers it, somewhere below `pid`. */
function supervisorBelow(pid: number): number {
  const found = tree(pid).find((one) => readFileSync(`/proc/${one}/cmdline`, 'latin1').startsWith('kwyre: supervisor'));
  if (found === undefined) throw new Error('there is no supervisor');
  return found;
}

/** Starts it and waits until it is ready. */
export async function startInstalled(
  machine: Machine,
  uid: number,
  extra: readonly string[] = [],
  form?: Form,
): Promise<Server> {
  const { pid, output, ended, kill } = await activate(machine, uid, extra, form);
  let over = false;
  void ended.then(() => (over = true));
  await until(
    'the server',
    () => {
      if (over) throw new Error(`the server ended while starting:\n${output()}`);
      return output().includes('(ready');
    },
    60_000,
  );
  const supervisor = form === 'unit' ? supervisorBelow(pid) : pid;
  return {
    url: `http://127.0.0.1:${installedPort}`,
    port: installedPort,
    token: readFileSync(join(machine.folder, 'lib', 'kwyre-access', String(person), 'token'), 'utf8').trim(),
    pid: supervisor,
    state: join(machine.folder, 'lib', 'kwyre'),
    output,
    ended,
    pids: () => rolesOf(supervisor),
    kill,
    async stop() {
      if (!over) process.kill(supervisor, 'SIGTERM');
      return await ended;
    },
  };
}
