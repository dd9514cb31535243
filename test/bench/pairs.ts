/**
 * This checkout beside another one (an earlier commit, installed), pair by pair: time to start, tokens a second,
 * memory.
 *
 *   node test/bench/pairs.ts OTHER_CHECKOUT [pairs, 30] [--json]
 *
 * Each pair starts both servers, in turns which comes first, and asks both the same questions in turns. A figure is the
 * geometric mean of the ratios of all pairs, as this / other, with its 95 % interval (Student's t over the logarithms).
 * Each ratio is turned so that more is better: other / this for the start and for memory. Root, on an idle machine.
 * @module
 */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import type { Server } from '../support/server.ts';
import { root, startServer, tree } from '../support/server.ts';
import { endTokens } from '../support/tokens.ts';
import type { Order } from './run.ts';
import { chatBody, figuresOf, median, streamHttp } from './run.ts';

const { values, positionals } = parseArgs({ allowPositionals: true, options: { json: { type: 'boolean' } } });
const [otherPath, pairsText = '30'] = positionals;
if (otherPath === undefined) throw new Error('name the folder of the other checkout');
const pairs = Math.min(200, Math.max(2, Number(pairsText)));
const goal = 0.97;
/** Questions to each server of a pair, after one that warms up. Each answer has its full length. */
const turns = 12;
const banned = await endTokens();

function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

/** Memory of all processes of a server, in KiB: each page counts once over those that share it. */
function memoryOf(server: Server): number {
  return tree(server.pid).reduce(
    (sum, pid) => sum + Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'))?.[1] ?? 0),
    0,
  );
}

type Sample = { startMs: number; tokensPerSecond: number; memoryKib: number };

async function measurePair(round: number): Promise<{ mine: Sample; other: Sample }> {
  const order = round % 2 === 0 ? (['mine', 'other'] as const) : (['other', 'mine'] as const);
  const servers = new Map<'mine' | 'other', Server>();
  const samples = {
    mine: { startMs: 0, tokensPerSecond: 0, memoryKib: 0 },
    other: { startMs: 0, tokensPerSecond: 0, memoryKib: 0 },
  };
  for (const name of order) {
    const from = performance.now();
    servers.set(
      name,
      await startServer({
        repository: name === 'mine' ? root : resolve(otherPath ?? ''),
        args: ['--scan-interval', '5000'],
      }),
    );
    samples[name].startMs = performance.now() - from;
  }
  // The supervisor tries its locks in the first seconds.
  await new Promise((done) => setTimeout(done, 6000));
  const speeds = { mine: [] as number[], other: [] as number[] };
  for (let turn = 0; turn <= turns; turn += 1) {
    for (const name of turn % 2 === 0 ? order : order.toReversed()) {
      const server = servers.get(name);
      if (server === undefined) continue;
      const task: Order = { promptBytes: 40, tokens: 384, streams: 1, seed: 1000 * round + turn, banned };
      const { generatedPerSecond } = figuresOf([await streamHttp(server.url, server.token, chatBody(task, task.seed))]);
      if (turn > 0) speeds[name].push(generatedPerSecond);
    }
  }
  for (const name of order) {
    const server = servers.get(name);
    if (server === undefined) continue;
    // Both answered the same questions, so the ratio of these means is the mean of the ratios of single answers.
    samples[name].tokensPerSecond = geometricMean(speeds[name]);
    samples[name].memoryKib = memoryOf(server);
  }
  await Promise.all([...servers.values()].map(async (server) => await server.stop()));
  return samples;
}

/**
 * 97.5 % quantile of Student's t, by Cornish and Fisher's expansion of the normal one; within 0.1 % from 10 degrees on.
 */
function quantile(degrees: number): number {
  const z = 1.959964;
  return (
    z +
    (z ** 3 + z) / (4 * degrees) +
    (5 * z ** 5 + 16 * z ** 3 + 3 * z) / (96 * degrees ** 2) +
    (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / (384 * degrees ** 3)
  );
}

/** The geometric mean of ratios and its interval. */
function interval(ratios: readonly number[]): { mean: number; low: number; high: number } {
  const logs = ratios.map(Math.log);
  const mean = logs.reduce((sum, x) => sum + x, 0) / logs.length;
  const deviation = Math.sqrt(logs.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (logs.length - 1));
  const half = (quantile(logs.length - 1) * deviation) / Math.sqrt(logs.length);
  return { mean: Math.exp(mean), low: Math.exp(mean - half), high: Math.exp(mean + half) };
}

const all: { mine: Sample; other: Sample }[] = [];
for (let round = 0; round <= pairs; round += 1) {
  const pair = await measurePair(round);
  if (round > 0) all.push(pair); // the first pair warms up
  console.error(`  pair ${round} of ${pairs}`);
}
const rows = (['startMs', 'tokensPerSecond', 'memoryKib'] as const).map((key) => {
  const ratios = all.map(({ mine, other }) =>
    key === 'tokensPerSecond' ? mine[key] / other[key] : other[key] / mine[key],
  );
  return {
    figure: key,
    mine: median(all.map(({ mine }) => mine[key])),
    other: median(all.map(({ other }) => other[key])),
    ...interval(ratios),
    pairs: all.length,
    goal,
  };
});
if (values.json === true) console.log(JSON.stringify(rows, undefined, 2));
else
  for (const { figure, mine, other, mean, low, high } of rows)
    console.log(
      `${figure}: ${mine.toFixed(1)} here, ${other.toFixed(1)} there (medians); ratio ${mean.toFixed(3)} (${low.toFixed(3)}-${high.toFixed(3)}), lower end at least ${goal}: ${low >= goal ? 'held' : 'missed'}`,
    );
process.exitCode = rows.every(({ low }) => low >= goal) ? 0 : 1;
