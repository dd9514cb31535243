/**
 * A supervisor of nothing but a watchdog and one process to be watched; says in JSON lines what happens.
 * @module
 */
import { spawn } from 'node:child_process';
import { extname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { transientIdentity } from './identity.ts';
import { socketInodes } from '../../src/linux/procfs/descriptors.ts';
import { nodeFlags } from '../../src/policy/node-flags.ts';
import { Alarm } from '../../src/supervisor/intrusion/alarm.ts';
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

const alarm = new Alarm({
  uid,
  jail: { readable: [], accepted: [], ...transientIdentity(uid) },
  intervalMs: input.intervalMs,
  profile: input.profile,
  acknowledged: input.acknowledged,
});
alarm.on('finding', (finding, assessment) => {
  say('finding', { ...finding, level: assessment.level });
});
alarm.on('level', ({ level, count }) => {
  say('level', { level, count });
});
alarm.on('paused', () => {
  say('paused');
});
alarm.on('resumed', (seconds) => {
  say('resumed', { seconds });
});
alarm.on('violation', (violation) => {
  target.kill('SIGKILL');
  say('violation', { ...violation });
  target.once('exit', () => {
    process.exit(16);
  });
});
process.on('exit', () => {
  target.kill('SIGKILL');
  alarm.kill();
});
createInterface({ input: process.stdin })
  .on('line', (line) => {
    if (line === 'checks') say('checks', { report: alarm.report() });
    else if (line.startsWith('target ')) target.stdin.write(`${line.slice(7)}\n`);
  })
  .on('close', () => {
    process.exit(0);
  });
await new Promise((resolve) => target.stdout.once('data', resolve));
say('up', { supervisor: process.pid, watchdog: alarm.watchdogPid, target: target.pid });
await alarm.watch([{ role: 'engine', pid: target.pid ?? 0, sealed: false, enforced: [], sockets: targetSockets }], {
  port: 1,
  listener: 0,
  networks: [process.pid],
  unixPath: '',
  code: [],
  memory: [],
});
say('first', { ...(await alarm.firstScan) });
