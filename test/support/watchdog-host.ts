/**
 * A supervisor of nothing but a watchdog and one process to be watched; says in JSON lines what happens.
 * @module
 */
import { spawn } from 'node:child_process';
import { uptime } from 'node:os';
import { extname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { monotonicMs, runnableOf } from '../../src/linux/clocks.ts';
import { makeSocketPair } from '../../src/linux/sockets/socket.ts';
import { transientIdentity } from './identity.ts';
import { socketInodes } from '../../src/linux/procfs/descriptors.ts';
import { nodeFlags } from '../../src/policy/node-flags.ts';
import { RoleProcess } from '../../src/supervisor/roles/role-process.ts';
import { diagSocket } from '../../src/supervisor/intrusion/alarm.ts';
import { Watch } from '../../src/supervisor/intrusion/watchdog-client.ts';
import type { Profile } from '../../src/layers/6-intrusion/escalation.ts';

const input = JSON.parse(process.argv[2] ?? '{}') as { intervalMs: number; profile: Profile; acknowledged: string[] };
const say = (type: string, value: object = {}) => {
  process.stdout.write(`${JSON.stringify({ type, at: performance.now(), ...value })}\n`);
};
const uid = process.getuid?.() ?? -1;

const target = spawn(
  process.execPath,
  [...nodeFlags, join(import.meta.dirname, `watched-target${extname(import.meta.filename)}`)],
  { stdio: ['pipe', 'pipe', 'inherit'] },
);
const targetSockets = socketInodes(target.pid ?? 0);
target.stdout.on('data', (chunk: Buffer) => {
  for (const line of chunk.toString().trim().split('\n')) say('target', { line });
});

const watch = new Watch({
  start(table, onBreach) {
    const control = makeSocketPair();
    return new RoleProcess(
      'watchdog',
      { readable: [], accepted: [], ...transientIdentity(uid) },
      [control[1], ...diagSocket()],
      control[0],
      new Set(),
      table,
      onBreach,
    );
  },
  clocks: () => ({ monotonic: monotonicMs(), boot: uptime() * 1000, runnable: runnableOf('self') }),
  runnableOf,
  now: () => Date.now(),
  self: () => ({
    role: 'supervisor',
    pid: process.pid,
    sealed: false,
    namespace: 'shared',
    sockets: socketInodes(process.pid),
  }),
  uid,
  intervalMs: input.intervalMs,
  profile: input.profile,
  acknowledged: input.acknowledged,
  weights: () => undefined,
  onFinding(finding, standing) {
    say('finding', { ...finding, level: standing.level });
  },
  onLevel(standing) {
    say('level', { level: standing.level, count: standing.count });
  },
  onPaused() {
    say('paused');
  },
  onResumed(seconds) {
    say('resumed', { seconds });
  },
  onViolation(violation) {
    target.kill('SIGKILL');
    watch.kill();
    say('violation', { ...violation });
    target.once('exit', () => {
      process.exit(16);
    });
  },
});
process.on('exit', () => {
  target.kill('SIGKILL');
  watch.kill();
});
createInterface({ input: process.stdin })
  .on('line', (line) => {
    if (line === 'checks')
      say('checks', { report: watch.report(), standing: watch.standing, enforced: watch.enforced });
    else if (line.startsWith('target ')) target.stdin.write(`${line.slice(7)}\n`);
  })
  .on('close', () => {
    process.exit(0);
  });
await new Promise((resolve) => target.stdout.once('data', resolve));
say('up', { supervisor: process.pid, watchdog: watch.pid, target: target.pid });
await watch.observe(
  [{ role: 'engine', pid: target.pid ?? 0, sealed: false, namespace: 'shared', sockets: targetSockets }],
  { port: 1, listener: 0, networks: [process.pid], unixPath: '', code: [], memory: [] },
);
say('first', { ...(await watch.first) });
