/**
 * What the watchdog of a running server costs: CPU and memory with 300 processes on the machine, at 5 s and at 250 ms.
 *
 * Measured is the processor time of the watchdog's own process as the kernel counts it, once its neighbours are known.
 * Part of `node test/bench/isolation.ts`.
 * @module
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { call, startServer } from '../support/server.ts';

const wanted = 300;
const goals = { 5000: 0.2, 250: 2 } as const;
const pssGoalMb = 60;

/** Processor time of a process in nanoseconds, all of its threads. */
function cpuNs(pid: number): number {
  let sum = 0;
  for (const tid of readdirSync(`/proc/${pid}/task`))
    sum += Number(readFileSync(`/proc/${pid}/task/${tid}/schedstat`, 'latin1').split(' ')[0]);
  return sum;
}

function pssMb(pid: number): number {
  return Number(/^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'))?.[1] ?? 0) / 1024;
}

/** What it took over `seconds`, and what it may take. */
export type Cost = {
  readonly intervalMs: number;
  readonly processes: number;
  readonly seconds: number;
  readonly cpuPercentOfOneCore: number;
  readonly goalPercent: number;
  readonly pssMb: number;
  readonly goalPssMb: number;
  readonly lastScanMs: number;
};

/** Fills the machine up to 300 processes and measures one interval. */
export async function measureWatchdog(intervalMs: keyof typeof goals, seconds: number): Promise<Cost> {
  const present = readdirSync('/proc').filter((name) => /^\d/.test(name)).length;
  const crowd = Array.from({ length: Math.max(0, wanted - present) }, () =>
    spawn('sleep', ['600'], { stdio: 'ignore' }),
  );
  try {
    await sleep(1000);
    const processes = readdirSync('/proc').filter((name) => /^\d/.test(name)).length;
    const server = await startServer({ args: ['--scan-interval', String(intervalMs)] });
    const watchdog = server.pids()['watchdog']!;
    await sleep(66_000); // until its neighbours are old acquaintances
    const from = process.hrtime.bigint();
    const before = cpuNs(watchdog);
    await sleep(seconds * 1000);
    const wallNs = Number(process.hrtime.bigint() - from);
    const percent = (100 * (cpuNs(watchdog) - before)) / wallNs;
    const pss = pssMb(watchdog);
    const { layers } = (await (await call(server, '/kwyre/status')).json()) as {
      layers: { checks: { evidence: string }[] }[];
    };
    const scan = /took ([\d.]+) ms/.exec(layers[5]?.checks.map(({ evidence }) => evidence).join(' ') ?? '')?.[1] ?? '?';
    await server.stop();
    return {
      intervalMs,
      processes,
      seconds,
      cpuPercentOfOneCore: Number(percent.toFixed(3)),
      goalPercent: goals[intervalMs],
      pssMb: Number(pss.toFixed(1)),
      goalPssMb: pssGoalMb,
      lastScanMs: Number(scan),
    };
  } finally {
    for (const process of crowd) process.kill('SIGKILL');
    // Gone before the next crowd is counted.
    await Promise.all(crowd.map(async (process) => await once(process, 'exit')));
  }
}
