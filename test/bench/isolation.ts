/**
 * What layers 2 and 6 cost, and how fast they answer, in one command. Ratios belong to one run on one machine.
 *
 *   node test/bench/isolation.ts [rounds, 5] [seconds for the watchdog, 30; 0 leaves it out] [--json]
 *
 * "Without" is the same build in a copy whose jail, seal, self-probe and filter of the supervisor are empty
 * (`test/support/weaken.ts`): the product has no switch that does it. Medians (lowest-highest); the first round warms
 * up. Root, on an idle machine.
 * @module
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemCalls } from '../../src/linux/syscalls.ts';
import { copyInstallation } from '../support/copy.ts';
import { injectWhenIdle } from '../support/inject.ts';
import type { Server } from '../support/server.ts';
import { alive, call, startServer, tree } from '../support/server.ts';
import { start } from '../support/watchdog.ts';
import { weaken } from '../support/weaken.ts';
import { chatBody, figuresOf, median, streamHttp } from './run.ts';
import type { Order } from './run.ts';
import { measureWatchdog } from './watchdog.ts';

const [roundsText = '5', secondsText = '30'] = process.argv.slice(2).filter((word) => !word.startsWith('--'));
const rounds = Math.min(25, Math.max(1, Number(roundsText)));
const seconds = Math.min(600, Math.max(0, Number(secondsText)));
const json = process.argv.includes('--json');
const sessions = 20;

type Figure = {
  readonly name: string;
  readonly unit: string;
  readonly values: readonly number[];
  readonly goal: string;
  readonly held: boolean;
};

const spread = (values: readonly number[]): string =>
  `${median(values).toFixed(3)} (${Math.min(...values).toFixed(3)}-${Math.max(...values).toFixed(3)})`;

async function timed(repository: string | undefined): Promise<{ server: Server; tookMs: number }> {
  const from = performance.now();
  const server = await startServer({
    ...(repository === undefined ? {} : { repository }),
    args: ['--scan-interval', '5000'],
  });
  return { server, tookMs: performance.now() - from };
}

/** Waits until none of the processes lives; the wall clock then. */
async function allDead(pids: readonly number[]): Promise<number> {
  for (let left = 20_000; left > 0 && pids.some(alive); left -= 1) await sleep(1);
  return Date.now();
}

using bare = copyInstallation(true);
weaken(bare.path, 2);

const startWith: number[] = [];
const startWithout: number[] = [];
const speedWith: number[] = [];
const speedWithout: number[] = [];
for (let round = 0; round <= rounds; round += 1) {
  const pair: (readonly [Server, number[]])[] = [];
  // Whoever comes first changes from round to round.
  for (const jailed of round % 2 === 0 ? [true, false] : [false, true]) {
    const { server, tookMs } = await timed(jailed ? undefined : bare.path);
    if (round > 0) (jailed ? startWith : startWithout).push(tookMs);
    pair.push([server, jailed ? speedWith : speedWithout]);
  }
  // The supervisor tries its locks in the first seconds.
  await sleep(6000);
  for (let turn = 0; turn < 4; turn += 1) {
    for (const [server, into] of turn % 2 === 0 ? pair : pair.toReversed()) {
      const order: Order = { promptBytes: 40, tokens: 384, streams: 1, seed: 1000 * round + turn, banned: [] };
      const { generatedPerSecond } = figuresOf([
        await streamHttp(server.url, server.token, chatBody(order, order.seed)),
      ]);
      if (round > 0) into.push(generatedPerSecond);
    }
  }
  for (const [server] of pair) await server.stop();
  console.error(`  starts and speed: round ${round} of ${rounds}`);
}

const toDeath: number[] = [];
const toWiped: number[] = [];
for (let round = 0; round < rounds; round += 1) {
  for (const role of ['gateway', 'engine'] as const) {
    const server = await startServer();
    const pids = server.pids();
    const roles = tree(server.pid).filter((pid) => pid !== server.pid);
    await injectWhenIdle(pids[role]!, systemCalls.x64['socket']!, [2, 1, 0]);
    const from = Date.now();
    toDeath.push((await allDead(roles)) - from);
    await server.ended;
  }
  const server = await startServer({ args: ['--scan-interval', '250'], acknowledge: ['strace'] });
  const ours = tree(server.pid);
  for (let i = 0; i < sessions; i += 1)
    await call(
      server,
      '/v1/chat/completions',
      { model: 'guide', max_tokens: 2, messages: [{ role: 'user', content: 'hello' }] },
      { headers: { 'kwyre-session': 'new' } },
    );
  const before = readFileSync(join(server.state, 'events.jsonl'), 'utf8').length;
  const tracer = start(['strace', '-f', '-o', '/dev/null', '-p', String(server.pids()['engine'])]);
  let events = '';
  const watching = setInterval(() => {
    try {
      events = readFileSync(join(server.state, 'events.jsonl'), 'utf8').slice(before);
    } catch {
      // the folder goes with the server; what was read before stands
    }
  }, 1);
  const gone = await allDead(ours.filter((pid) => pid !== server.pid));
  await sleep(20);
  clearInterval(watching);
  await server.ended;
  await tracer.stop();
  const confirmed = /"at":"([^"]+)","code":"L6_LEVEL_CONFIRMED"/.exec(events)?.[1];
  if (confirmed === undefined) throw new Error(`the second detection was not seen: ${events}`);
  toWiped.push(gone - Date.parse(confirmed));
  console.error(`  answers: round ${round + 1} of ${rounds}`);
}

const added = median(startWith) - median(startWithout);
const ratio = median(speedWith) / median(speedWithout);
const figures: Figure[] = [
  { name: 'start with isolation', unit: 'ms', values: startWith, goal: '', held: true },
  { name: 'start without', unit: 'ms', values: startWithout, goal: '', held: true },
  { name: 'isolation adds to the start', unit: 'ms', values: [added], goal: 'at most 150', held: added <= 150 },
  { name: 'generation with the jail', unit: 'tokens/s', values: speedWith, goal: '', held: true },
  { name: 'generation without', unit: 'tokens/s', values: speedWithout, goal: '', held: true },
  { name: 'with / without', unit: '', values: [ratio], goal: 'at least 0.99', held: ratio >= 0.99 },
  {
    name: 'from a forbidden call until all children are dead',
    unit: 'ms',
    values: toDeath,
    goal: 'under 100',
    held: Math.max(...toDeath) < 100,
  },
  {
    name: `from the second detection until all children are dead, with ${sessions} conversations`,
    unit: 'ms',
    values: toWiped,
    goal: 'under 1000',
    held: Math.max(...toWiped) < 1000,
  },
];
if (seconds > 0) {
  for (const intervalMs of [5000, 250] as const) {
    const cost = await measureWatchdog(intervalMs, seconds);
    figures.push({
      name: `watchdog every ${intervalMs} ms, ${cost.processes} processes`,
      unit: '% of a core',
      values: [cost.cpuPercentOfOneCore],
      goal: `at most ${cost.goalPercent}`,
      held: cost.cpuPercentOfOneCore <= cost.goalPercent,
    });
    figures.push({
      name: `watchdog every ${intervalMs} ms, memory`,
      unit: 'MB PSS',
      values: [cost.pssMb],
      goal: `under ${cost.goalPssMb}`,
      held: cost.pssMb <= cost.goalPssMb,
    });
  }
}
if (json) console.log(JSON.stringify(figures, undefined, 2));
else
  for (const { name, unit, values, goal, held } of figures)
    console.log(
      `${name}: ${values.length === 1 ? (values[0] ?? 0).toFixed(3) : spread(values)} ${unit}${goal === '' ? '' : `, goal ${goal}: ${held ? 'held' : 'missed'}`}`,
    );
process.exitCode = figures.every(({ held }) => held) ? 0 : 1;
