/**
 * Who is measured: the engine alone, the whole server, and llama-server with the same threads, context and cache type.
 * @module
 */
import type { ChildProcess } from 'node:child_process';
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { approve, makeState } from '../support/approved.ts';
import { endWithUs } from '../support/children.ts';
import { startServer } from '../support/server.ts';
import type { Contestant, Order, Timing } from './run.ts';
import { chatBody, streamHttp } from './run.ts';

/**
 * `remembers`: what was computed may be used again for the same beginning of a prompt; Kwyre decides that by request.
 */
export type Setting = {
  readonly model: string;
  readonly contextTokens: number;
  readonly parallel: number;
  readonly threads: number;
  readonly remembers?: boolean;
};

const nodeFlags = ['--disable-warning=ExperimentalWarning'];

export async function startAlone(setting: Setting): Promise<Contestant & { readonly ending: readonly number[] }> {
  const child = spawn(
    process.execPath,
    [
      ...nodeFlags,
      join(import.meta.dirname, 'alone.ts'),
      setting.model,
      String(setting.contextTokens),
      String(setting.parallel),
      String(setting.threads),
    ],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<string> => {
    const line = await lines.next();
    if (line.done === true) throw new Error('the engine alone has ended');
    return line.value;
  };
  const ending = JSON.parse(await next()) as number[];
  return {
    ending,
    name: 'engine alone',
    pids: { alone: child.pid ?? 0 },
    async run(order) {
      child.stdin.write(`${JSON.stringify(order)}\n`);
      return JSON.parse(await next()) as Timing[];
    },
    async stop() {
      child.stdin.end();
      await new Promise((resolve) => child.once('exit', resolve));
    },
  };
}

async function runHttp(url: string, token: string, order: Order): Promise<Timing[]> {
  return await Promise.all(
    Array.from(
      { length: order.streams },
      async (_, i) => await streamHttp(url, token, chatBody(order, order.seed + i)),
    ),
  );
}

/** Flags of `kwyre serve` for a setting. */
const kwyreArgs = ({ contextTokens, parallel, threads }: Setting) => [
  '--model',
  'measured',
  '--ctx',
  String(contextTokens),
  '--parallel',
  String(parallel),
  '--threads',
  String(threads),
];

/** A server, and when its start began. */
export type Started = Contestant & { readonly began: number; readonly url: string; readonly token: string };

/** Approves the model first, as its user did once, outside of what is timed. */
export async function startKwyre(setting: Setting): Promise<Started> {
  const state = makeState();
  approve(state.path, setting.model, 'measured');
  const began = performance.now();
  const server = await startServer({ state: state.path, args: kwyreArgs(setting) });
  return {
    name: 'kwyre',
    began,
    url: server.url,
    token: server.token,
    pids: server.pids(),
    run: async (order) => await runHttp(server.url, server.token, order),
    async stop() {
      await server.stop();
      state[Symbol.dispose]();
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : 0;
}

/**
 * Starts llama-server with nothing that Kwyre has not: no slots of other sizes, and no cache of prompts unless the
 * setting has one.
 */
async function spawnLlamaServer(path: string, setting: Setting): Promise<{ child: ChildProcess; url: string }> {
  const port = await freePort();
  const flags = [
    '-m',
    setting.model,
    '-t',
    String(setting.threads),
    '-tb',
    String(setting.threads),
    '-c',
    String(setting.contextTokens * setting.parallel),
    '-np',
    String(setting.parallel),
    ...(setting.remembers === true ? [] : ['--cache-ram', '0']),
    '-ctk',
    'f16',
    '-ctv',
    'f16',
    '--host',
    '127.0.0.1',
    '--port',
    String(port),
  ];
  const child = spawn(path, flags, { stdio: 'ignore' });
  endWithUs(child);
  const url = `http://127.0.0.1:${port}`;
  for (let i = 0; i < 6000; i += 1) {
    if (child.exitCode !== null) throw new Error(`llama-server ended with ${child.exitCode}: ${flags.join(' ')}`);
    try {
      if ((await fetch(`${url}/health`)).ok) return { child, url };
    } catch {
      // not listening yet
    }
    await sleep(5);
  }
  throw new Error('llama-server was not ready in time');
}

async function end(child: ChildProcess): Promise<void> {
  child.kill('SIGTERM');
  await new Promise((resolve) => child.once('exit', resolve));
}

export async function startLlamaServer(path: string, setting: Setting): Promise<Started> {
  const began = performance.now();
  const { child, url } = await spawnLlamaServer(path, setting);
  return {
    name: 'llama-server',
    began,
    url,
    token: 'none',
    pids: { 'llama-server': child.pid ?? 0 },
    run: async (order) => await runHttp(url, 'none', order),
    stop: async () => {
      await end(child);
    },
  };
}

/** Milliseconds from the start of a server to its readiness and to the first token of its first answer. */
export async function timeStart(
  which: 'kwyre' | 'llama-server',
  path: string,
  setting: Setting,
  order: Order,
): Promise<{ readyMs: number; firstTokenMs: number }> {
  const contestant = which === 'kwyre' ? await startKwyre(setting) : await startLlamaServer(path, setting);
  const readyMs = performance.now() - contestant.began;
  const [timing] = await contestant.run(order);
  await contestant.stop();
  return { readyMs, firstTokenMs: (timing?.first ?? 0) - contestant.began };
}

/** Processor time of processes in milliseconds. */
function cpuMs(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return sum + 10 * (Number(fields[11]) + Number(fields[12]));
  }, 0);
}

/** Waits until a contestant rests, so that the next one has the machine for itself; at most 20 s. */
export async function settle(contestant: Contestant): Promise<void> {
  const pids = Object.values(contestant.pids);
  for (let i = 0; i < 100; i += 1) {
    const before = cpuMs(pids);
    await sleep(200);
    if (cpuMs(pids) - before <= 10) return;
  }
}

/** Proportional set size in MiB by process; empty where the kernel does not tell us. */
export function memoryOf(contestant: Contestant): Record<string, number> {
  const found: Record<string, number> = {};
  for (const [name, pid] of Object.entries(contestant.pids)) {
    try {
      found[name] =
        Number(/^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'))?.[1] ?? 0) / 1024;
    } catch {
      return {}; // only root may look
    }
  }
  return found;
}

/** llama-bench's own figures: prompt and generation tokens per second. */
export function runLlamaBench(
  path: string,
  setting: Setting,
  prompt: number,
  tokens: number,
  repetitions: number,
): { prompt: number; generated: number } {
  const { stdout, status } = spawnSync(
    path,
    [
      '-m',
      setting.model,
      '-t',
      String(setting.threads),
      '-p',
      String(prompt),
      '-n',
      String(tokens),
      '-r',
      String(repetitions),
      '-o',
      'json',
    ],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], timeout: 600_000 },
  );
  if (status !== 0) throw new Error('llama-bench failed');
  const rows = JSON.parse(stdout) as { n_prompt: number; n_gen: number; avg_ts: number }[];
  return {
    prompt: rows.find((row) => row.n_gen === 0)?.avg_ts ?? 0,
    generated: rows.find((row) => row.n_prompt === 0)?.avg_ts ?? 0,
  };
}
