/**
 * What the watchdog costs: CPU and memory with 300 processes on the machine, at 5 s and at 250 ms.
 *
 * Run: `node test/bench/watchdog.ts [seconds per interval, default 30] [5000|250]`. Measured is the processor time of the
 * watchdog's own process as the kernel counts it, after its first five seconds.
 * @module
 */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { startWatched } from '../support/watchdog.ts';

const seconds = Number(process.argv[2] ?? 30);
const wanted = 300;
const goals = { 5000: 0.2, 250: 2 } as const;
const pssGoalMb = 60;

/** Processor time of a process in nanoseconds, all of its threads. */
function cpuNs(pid: number): number {
  let sum = 0;
  for (const tid of readdirSync(`/proc/${pid}/task`)) sum += Number(readFileSync(`/proc/${pid}/task/${tid}/schedstat`, 'latin1').split(' ')[0]);
  return sum;
}

function pssMb(pid: number): number {
  return Number(/^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'))?.[1] ?? 0) / 1024;
}

const present = readdirSync('/proc').filter((name) => /^\d/.test(name)).length;
const crowd = Array.from({ length: Math.max(0, wanted - present) }, () => spawn('sleep', ['600'], { stdio: 'ignore' }));
let missed = false;
try {
  await sleep(1000);
  const processes = readdirSync('/proc').filter((name) => /^\d/.test(name)).length;
  for (const intervalMs of process.argv[3] === undefined ? ([5000, 250] as const) : ([process.argv[3] === '250' ? 250 : 5000] as const)) {
    const watched = await startWatched({ intervalMs, acknowledged: ['gdb'] });
    await sleep(intervalMs === 5000 ? 66_000 : 8_000); // until its neighbours are old acquaintances
    const from = process.hrtime.bigint();
    const before = cpuNs(watched.watchdog);
    await sleep(seconds * 1000);
    const wallNs = Number(process.hrtime.bigint() - from);
    const percent = (100 * (cpuNs(watched.watchdog) - before)) / wallNs;
    const pss = pssMb(watched.watchdog);
    const scan = /took ([\d.]+) ms/.exec((await watched.checks()).checks[0]?.evidence ?? '')?.[1] ?? '?';
    await watched.stop();
    const held = percent <= goals[intervalMs] && pss <= pssGoalMb;
    missed ||= !held;
    console.log(JSON.stringify({ bench: 'watchdog', intervalMs, processes, seconds, cpuPercentOfOneCore: Number(percent.toFixed(3)), goalPercent: goals[intervalMs], pssMb: Number(pss.toFixed(1)), goalPssMb: pssGoalMb, lastScanMs: Number(scan), held }));
  }
} finally {
  for (const process of crowd) process.kill('SIGKILL');
}
process.exitCode = missed ? 1 : 0;
