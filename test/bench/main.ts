/**
 * `npm run bench`: speed and memory of the engine alone and of the whole server, beside llama-server and llama-bench
 * when their paths are given.
 *
 *   npm run bench -- [--llama-server PATH] [--llama-bench PATH] [--models guide,large] [--threads N] [--runs 5]
 *   [--quick]
 *
 * All sides get the same threads, context for each stream, 16-bit cache, and no prompt cache. Runs alternate between
 * them, the next begins when the last one rests, and the medians are shown. Use a machine with nothing else to do.
 * Everything is written to bench-results/ as JSON.
 * @module
 */
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { threadPlan } from '../../src/engine/llama/cpu-plan.ts';
import { factsOf } from '../support/facts.ts';
import { benchShape, writeModel } from '../support/gguf.ts';
import type { Setting } from './contestants.ts';
import { memoryOf, runLlamaBench, settle, startAlone, startKwyre, startLlamaServer, timeStart } from './contestants.ts';
import type { Contestant, Figures, Order } from './run.ts';
import { figuresOf, median } from './run.ts';

const { values: flags } = parseArgs({
  options: {
    'llama-server': { type: 'string' },
    'llama-bench': { type: 'string' },
    models: { type: 'string', default: 'guide,large' },
    threads: { type: 'string', default: '0' },
    runs: { type: 'string', default: '5' },
    quick: { type: 'boolean', default: false },
  },
});
const runs = flags.quick ? 1 : Math.min(25, Math.max(1, Number(flags.runs)));
const root = join(import.meta.dirname, '..', '..');
const scratch = mkdtempSync(join(tmpdir(), 'kwyre-bench-'));

type Scenario = {
  readonly name: string;
  readonly figure: keyof Figures;
  readonly unit: string;
  readonly order: Omit<Order, 'seed' | 'banned'>;
};

/** What is asked of every contestant of a model; `bytes` make about so many tokens of a prompt. */
function scenarios(bytesPerToken: number, tokens: number): Record<4 | 16, Scenario[]> {
  const long = Math.round(480 * bytesPerToken);
  return {
    4: [
      {
        name: 'prompt',
        figure: 'promptPerSecond',
        unit: 'tokens/s',
        order: { promptBytes: long, tokens: 1, streams: 1 },
      },
      {
        name: 'generation, 1 stream',
        figure: 'generatedPerSecond',
        unit: 'tokens/s',
        order: { promptBytes: 40, tokens, streams: 1 },
      },
      {
        name: 'time to first token',
        figure: 'firstTokenMs',
        unit: 'ms',
        order: { promptBytes: 40, tokens: 2, streams: 1 },
      },
      {
        name: '4 streams, all tokens',
        figure: 'totalPerSecond',
        unit: 'tokens/s',
        order: { promptBytes: 40, tokens: tokens >> 1, streams: 4 },
      },
    ],
    16: [
      {
        name: '16 streams, all tokens',
        figure: 'totalPerSecond',
        unit: 'tokens/s',
        order: { promptBytes: 40, tokens: tokens >> 2, streams: 16 },
      },
    ],
  };
}

type Row = {
  readonly scenario: string;
  readonly unit: string;
  readonly medians: Record<string, number>;
  readonly all: Record<string, number[]>;
};

async function contest(
  contestants: readonly Contestant[],
  list: readonly Scenario[],
  banned: readonly number[],
): Promise<Row[]> {
  const rows: Row[] = list.map(({ name, unit }) => ({ scenario: name, unit, medians: {}, all: {} }));
  let seed = 1;
  // The first round warms up and is not counted.
  for (let round = 0; round <= runs; round += 1) {
    for (const [i, { figure, order }] of list.entries()) {
      const tokens = new Set<number>();
      for (const contestant of contestants) {
        const figures = figuresOf(await contestant.run({ ...order, seed, banned }));
        tokens.add(figures.tokens);
        await settle(contestant);
        if (round > 0) (rows[i]!.all[contestant.name] ??= []).push(figures[figure]);
        seed += order.streams;
      }
      if (tokens.size > 1) console.error(`note: not all made the same number of tokens: ${[...tokens].join(', ')}`);
    }
    console.error(`  round ${round} of ${runs}`);
  }
  for (const row of rows) for (const [name, values] of Object.entries(row.all)) row.medians[name] = median(values);
  return rows;
}

function print(rows: readonly Row[]): void {
  for (const { scenario, unit, medians, all } of rows) {
    const cells = Object.entries(medians).map(([name, value]) => {
      const values = all[name] ?? [];
      return `${name} ${value.toFixed(1)} (${Math.min(...values).toFixed(1)}-${Math.max(...values).toFixed(1)})`;
    });
    const ratio = (over: string) =>
      medians['kwyre'] === undefined || medians[over] === undefined
        ? ''
        : `; kwyre/${over} ${(medians['kwyre'] / medians[over]).toFixed(3)}`;
    console.log(`  ${scenario} [${unit}]: ${cells.join(', ')}${ratio('engine alone')}${ratio('llama-server')}`);
  }
}

async function measure(name: string, model: string): Promise<object> {
  const facts = factsOf(model);
  const threads = Number(flags.threads) || threadPlan(availableParallelism(), facts.parameters);
  const contextTokens = Math.min(facts.contextTokens, 2048);
  const small = facts.parameters < 50_000_000;
  // Tokens that end an answer are kept out, so that all make the same number of them.
  let banned: readonly number[] = [];
  const plan = scenarios(small ? 3 : 1, flags.quick ? 32 : small ? 384 : 128);
  console.log(
    `${name}: ${(facts.parameters / 1e6).toFixed(1)}M parameters, ${(facts.bytes / 2 ** 20).toFixed(1)} MiB, ${threads} threads, ${contextTokens} tokens for each stream, median of ${runs} (lowest-highest)`,
  );
  const rows: Row[] = [];
  let memory: Record<string, Record<string, number>> = {};
  for (const parallel of [4, 16] as const) {
    const setting: Setting = { model, contextTokens, parallel, threads };
    const contestants: Contestant[] = [];
    try {
      const alone = await startAlone(setting);
      banned = alone.ending;
      contestants.push(alone, await startKwyre(setting));
      if (flags['llama-server'] !== undefined) contestants.push(await startLlamaServer(flags['llama-server'], setting));
      const found = await contest(contestants, plan[parallel], banned);
      print(found);
      rows.push(...found);
      if (parallel === 4) {
        memory = Object.fromEntries(contestants.map((contestant) => [contestant.name, memoryOf(contestant)]));
        const cache = (facts.cacheBytesPerToken * contextTokens * parallel) / 2 ** 20;
        for (const [who, pss] of Object.entries(memory)) {
          const total = Object.values(pss).reduce((a, b) => a + b, 0);
          console.log(
            `  memory of ${who} [MiB, PSS]: ${Object.entries(pss)
              .map(([process, value]) => `${process} ${value.toFixed(0)}`)
              .join(
                ', ',
              )}; together ${total.toFixed(0)}, of it cache ${cache.toFixed(0)}, weights ${(facts.bytes / 2 ** 20).toFixed(0)} (once more where llama.cpp repacks them)`,
          );
        }
      }
    } finally {
      for (const contestant of contestants) await contestant.stop();
    }
  }
  const setting: Setting = { model, contextTokens, parallel: 4, threads };
  const order: Order = { promptBytes: 40, tokens: 2, streams: 1, seed: 1, banned };
  const starts: Record<string, { readyMs: number[]; firstTokenMs: number[] }> = {};
  for (let round = 0; round < runs; round += 1) {
    for (const which of ['kwyre', ...(flags['llama-server'] === undefined ? [] : ['llama-server'])] as (
      'kwyre' | 'llama-server'
    )[]) {
      const { readyMs, firstTokenMs } = await timeStart(which, flags['llama-server'] ?? '', setting, {
        ...order,
        seed: round,
      });
      const entry = (starts[which] ??= { readyMs: [], firstTokenMs: [] });
      entry.readyMs.push(readyMs);
      entry.firstTokenMs.push(firstTokenMs);
    }
  }
  for (const [who, { readyMs, firstTokenMs }] of Object.entries(starts))
    console.log(
      `  start of ${who} [ms]: ready ${median(readyMs).toFixed(0)}, first token ${median(firstTokenMs).toFixed(0)}`,
    );
  const yardstick =
    flags['llama-bench'] === undefined
      ? undefined
      : runLlamaBench(flags['llama-bench'], setting, 512, small ? 384 : 128, runs);
  if (yardstick !== undefined)
    console.log(
      `  llama-bench [tokens/s]: prompt ${yardstick.prompt.toFixed(1)}, generation ${yardstick.generated.toFixed(1)}`,
    );
  return {
    name,
    parameters: facts.parameters,
    bytes: facts.bytes,
    threads,
    contextTokens,
    cacheBytesPerToken: facts.cacheBytesPerToken,
    rows,
    memory,
    starts,
    yardstick,
  };
}

const results: object[] = [];
process.once('exit', () => {
  rmSync(scratch, { recursive: true, force: true });
});
for (const name of flags.models.split(',')) {
  let model = join(root, 'models', 'guide', 'guide.gguf');
  if (name === 'large') {
    model = join(scratch, 'large.gguf');
    console.error('writing 507M random parameters');
    writeModel(model, benchShape);
  } else if (name !== 'guide') model = name;
  if (existsSync(model)) results.push(await measure(name, model));
  else console.error(`${name}: there is no ${model}`);
}
const folder = join(root, 'bench-results');
mkdirSync(folder, { recursive: true });
const target = join(folder, `${new Date().toISOString().slice(0, 19).replace(/:/g, '')}.json`);
writeFileSync(
  target,
  `${JSON.stringify({ machine: { processor: cpus()[0]?.model, cores: availableParallelism(), kernel: release(), node: process.version }, runs, results }, null, 2)}\n`,
);
console.log(target);
