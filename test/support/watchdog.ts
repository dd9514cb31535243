/**
 * A watched process and its watchdog for tests: real processes, started as root or as another user.
 * @module
 */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { nodeFlags } from '../../src/policy/node-flags.ts';
import type { Check } from '../../src/base/verdict.ts';
import type { Finding } from '../../src/layers/6-intrusion/finding.ts';
import type { Profile, Assessment, Violation } from '../../src/layers/6-intrusion/escalation.ts';
import { asOrdinary } from './identity.ts';
import { stripped } from './stripped.ts';

/** An ordinary user that no account has. */
export const ordinaryUid = 12_345;

type Said =
  | { readonly type: 'up'; readonly supervisor: number; readonly watchdog: number; readonly target: number }
  | ({ readonly type: 'first' } & Assessment)
  | ({ readonly type: 'finding'; readonly at: number } & Finding)
  | { readonly type: 'level'; readonly at: number; readonly level: Assessment['level']; readonly count: number }
  | ({ readonly type: 'violation'; readonly at: number } & Violation)
  | { readonly type: 'paused'; readonly at: number }
  | { readonly type: 'resumed'; readonly at: number; readonly seconds: number }
  | { readonly type: 'target'; readonly line: string }
  | { readonly type: 'checks'; readonly report: { readonly status: string; readonly checks: readonly Check[] } };
type Of<T extends Said['type']> = Extract<Said, { type: T }>;

export type Watched = {
  readonly supervisor: number;
  readonly watchdog: number;
  readonly target: number;
  /** What was said so far. */
  readonly said: readonly Said[];
  /** Waits for the first message of a kind that `fits`, from the start on. */
  readonly next: <T extends Said['type']>(type: T, fits?: (said: Of<T>) => boolean, ms?: number) => Promise<Of<T>>;
  /** Lets the target do something, and waits until it has. */
  readonly tell: (command: string) => Promise<void>;
  readonly checks: () => Promise<Of<'checks'>['report']>;
  readonly ended: Promise<number | null>;
  readonly stop: () => Promise<void>;
};

export type Start = {
  readonly uid?: number;
  readonly intervalMs?: number;
  readonly profile?: Profile;
  readonly acknowledged?: readonly string[];
};

/** Starts both and waits for the first scan. */
export async function startWatched(start: Start = {}): Promise<Watched> {
  const input = {
    intervalMs: start.intervalMs ?? 250,
    profile: start.profile ?? 'person',
    acknowledged: start.acknowledged ?? [],
  };
  const node = [process.execPath, ...nodeFlags, stripped('test/support/watchdog-host.ts'), JSON.stringify(input)];
  const [file = '', ...args] = asOrdinary(start.uid, node);
  const host = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'], env: { PATH: process.env['PATH'] } });
  const said: Said[] = [];
  createInterface({ input: host.stdout }).on('line', (line) => said.push(JSON.parse(line) as Said));
  const ended = new Promise<number | null>((resolve) =>
    host.once('close', (code) => {
      resolve(code);
    }),
  );
  let over = false;
  void ended.then(() => (over = true));
  let asked = 0;
  const next: Watched['next'] = async (type, fits = () => true, ms = 15_000) => {
    const end = Date.now() + ms;
    for (;;) {
      const found = said.find((one): one is Of<typeof type> => one.type === type && fits(one as Of<typeof type>));
      if (found !== undefined) return found;
      if (Date.now() > end || over) throw new Error(`nothing of kind ${type}; said: ${JSON.stringify(said)}`);
      await sleep(20);
    }
  };
  const up = await next('up', undefined, 30_000);
  await next('first', undefined, 30_000);
  return {
    supervisor: up.supervisor,
    watchdog: up.watchdog,
    target: up.target,
    said,
    next,
    async tell(command) {
      host.stdin.write(`target ${command}\n`);
      await next('target', (one) => one.line === `done ${command.split(' ')[0] ?? ''}`);
    },
    async checks() {
      asked += 1;
      host.stdin.write('checks\n');
      for (;;) {
        const answers = said.filter((one) => one.type === 'checks');
        if (answers.length >= asked) return answers[asked - 1]!.report;
        await next('checks');
        await sleep(20);
      }
    },
    ended,
    async stop() {
      host.stdin.end();
      await ended;
    },
  };
}

/** A process started for a test; ended by `stop`. */
export type Running = { readonly pid: number; readonly output: () => string; readonly stop: () => Promise<void> };

/** Starts a command and keeps what it prints. */
export function start(
  command: readonly string[],
  stdin: 'ignore' | 'pipe' = 'pipe',
): Running & { readonly process: ChildProcess } {
  const [file = '', ...args] = command;
  const child = spawn(file, args, { stdio: [stdin, 'pipe', 'pipe'] });
  let output = '';
  for (const pipe of [child.stdout, child.stderr]) pipe?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const ended = new Promise<void>((resolve) => {
    child.once('close', () => {
      resolve();
    });
    child.once('error', () => {
      resolve();
    });
  });
  return {
    process: child,
    pid: child.pid ?? 0,
    output: () => output,
    async stop() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

/** Ends it when the test ends. */
export function use<T extends Running | Watched>(t: TestContext, running: T): T {
  t.after(async () => {
    await running.stop();
  });
  return running;
}
