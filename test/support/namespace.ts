/**
 * A machine of the test's own: network and mounts of one process, with copies of `/etc`, empty `/opt`, `/var/lib` and
 * `/run`, and another machine behind a veth pair. What runs there changes nothing of the real one. Only single commands
 * are run in it, never an init: whatever sets up a whole system would do it to the `/tmp` that it shares.
 * @module
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import type { ChildProcess, SpawnSyncReturns } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checked, libc } from '../../src/linux/ffi.ts';
import { endWithUs } from './children.ts';
import { until } from './server.ts';

const setns = libc.func('int setns(int fd, int type)') as (fd: number, type: number) => number;
const networkKind = 0x40000000;

const script = `set -e
mount --make-rprivate /
cp -a /etc "$1/etc"
mkdir "$1/lib"
mount --bind "$1/etc" /etc
mount -t tmpfs -o mode=755 tmpfs /opt
mount --bind "$1/lib" /var/lib
mount -t tmpfs -o mode=755 tmpfs /run
ip link set lo up
echo ready
exec cat`;

export const addresses = {
  here: { four: '10.78.0.1', six: 'fd78::1' },
  there: { four: '10.78.0.2', six: 'fd78::2' },
} as const;

async function hold(command: string, args: readonly string[]): Promise<ChildProcess> {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  endWithUs(child);
  await once(child.stdout, 'data', { signal: AbortSignal.timeout(20_000) });
  return child;
}

/** A program that runs there, and what it printed so far. */
export type Running = { readonly child: ChildProcess; readonly output: () => string };

/** The namespaces, while the test lives. */
export class Machine {
  readonly folder = mkdtempSync(join(tmpdir(), 'kwyre-machine-'));
  #holder: ChildProcess | undefined;
  #peer: ChildProcess | undefined;
  #running: ChildProcess[] = [];

  async start(): Promise<void> {
    this.#holder = await hold('unshare', ['-n', '-m', 'sh', '-c', script, 'sh', this.folder]);
    this.#peer = await hold('unshare', ['-n', 'sh', '-c', 'ip link set lo up; echo ready; exec cat']);
    this.run('ip', 'link', 'add', 'in0', 'type', 'veth', 'peer', 'name', 'out0', 'netns', String(this.#peer.pid));
    const address = (inside: (...words: string[]) => string, device: string, side: { four: string; six: string }) => {
      inside('ip', 'link', 'set', device, 'up');
      inside('ip', 'addr', 'add', `${side.four}/24`, 'dev', device);
      inside('ip', 'addr', 'add', `${side.six}/64`, 'dev', device, 'nodad');
    };
    address((...words) => this.run(...words), 'in0', addresses.here);
    address((...words) => this.outside(...words), 'out0', addresses.there);
  }

  /** Moves this thread, its sockets and its children into that network, for good. */
  join(): void {
    const fd = openSync(`/proc/${this.#holder?.pid}/ns/net`, 'r');
    checked('setns', setns(fd, networkKind));
    closeSync(fd);
  }

  /** The words that run a command there. */
  enter(...command: string[]): string[] {
    return ['nsenter', '-t', String(this.#holder?.pid), '-n', '-m', '--', ...command];
  }

  /** Runs a command there; it must succeed. */
  run(...command: string[]): string {
    const [file = '', ...args] = this.enter(...command);
    return execFileSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], timeout: 60_000 });
  }

  /** Runs a command there, however it ends. */
  try(...command: string[]): SpawnSyncReturns<string> {
    const [file = '', ...args] = this.enter(...command);
    return spawnSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], timeout: 120_000 });
  }

  /** The words that run a command on the other machine. */
  enterOutside(...command: string[]): string[] {
    return ['nsenter', '-t', String(this.#peer?.pid), '-n', '--', ...command];
  }

  outside(...command: string[]): string {
    const [file = '', ...args] = this.enterOutside(...command);
    return execFileSync(file, args, { encoding: 'utf8', timeout: 60_000 });
  }

  /**
   * From here on every packet that arrives on the other machine is kept, without IPv6's own chatter; gives the lines.
   */
  async capture(): Promise<() => string[]> {
    this.run('sysctl', '-qw', 'net.ipv6.conf.in0.disable_ipv6=1');
    this.outside('sysctl', '-qw', 'net.ipv6.conf.out0.disable_ipv6=1');
    this.run('ip', 'route', 'add', 'default', 'via', addresses.there.four);
    const tool = this.spawn(this.enterOutside('tcpdump', '-i', 'out0', '-n', '-l', '--immediate-mode'));
    await until('the capture', () => tool.output().includes('listening on'));
    return () =>
      tool
        .output()
        .split('\n')
        .filter((line) => /^\d\d:\d\d:\d\d\./.test(line));
  }

  /** Starts a program and goes on; it ends with the machine at the latest. */
  spawn(words: readonly string[]): Running {
    const [file = '', ...args] = words;
    const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    endWithUs(child);
    this.#running.push(child);
    let text = '';
    for (const pipe of [child.stdout, child.stderr]) pipe.on('data', (chunk: Buffer) => (text += chunk.toString()));
    return { child, output: () => text };
  }

  async stop(): Promise<void> {
    for (const child of [...this.#running, this.#holder, this.#peer]) {
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) continue;
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}
