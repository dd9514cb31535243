/**
 * Kills one process of a real server in the middle of an answer, again and again, and looks what became of the others.
 * @module
 */
import { closeSync, readFileSync } from 'node:fs';
import { makeState } from './approved.ts';
import { canaryOf, filesBelow } from './mixed.ts';
import { scanProcess } from '../../src/cli/prove/memory-scanner.ts';
import { copiesIn, faultsOf, openWorkingSet, overwritten, pagesOf } from './remains.ts';
import type { Server } from './server.ts';
import { alive, call, startServer, tree } from './server.ts';
import { timesCount } from './time-bounds.ts';
import { biasOf, endTokens } from './tokens.ts';

export const victims = ['engine', 'gateway', 'watchdog', 'supervisor'] as const;

/** What was seen after so many kills. */
export type Killed = {
  kills: number;
  /** Of what must end, the slowest in milliseconds. */
  slowestEndMs: number;
  /** Clients that were still waiting 20 seconds later. */
  hung: number;
  /** Servers that answered again after a kill that they may survive. */
  restarted: number;
  /** Copies of a canary in what lives on, in the state folder and in what was printed. */
  found: number;
  /** Kills before which words stood in the working set: an answer may have ended by then. */
  words: number;
  /** Working sets that were looked at after a kill, and had been overwritten. */
  overwritten: number;
  /** What was not as it must be. */
  readonly wrong: string[];
};

const endMs = 1000;
const hangMs = 20_000;

async function waitFor(condition: () => boolean, ms: number): Promise<number> {
  const began = performance.now();
  while (!condition() && performance.now() - began < ms) await new Promise((resolve) => setTimeout(resolve, 5));
  return performance.now() - began;
}

/** An answer that goes on until somebody ends it; settles when its client knows. */
export async function longAnswer(server: Server, canary: string): Promise<{ over: () => boolean }> {
  let over = false;
  const response = await call(
    server,
    '/v1/chat/completions',
    {
      model: 'guide',
      stream: true,
      max_tokens: 3500,
      temperature: 1.7,
      logit_bias: biasOf(await endTokens()),
      messages: [{ role: 'user', content: `${canary} what is layer 5?` }],
    },
    { headers: { 'kwyre-session': 'new' } },
  );
  const reader = response.body!.getReader();
  await reader.read();
  void (async () => {
    while (!(await reader.read()).done);
  })()
    .catch(() => undefined)
    .finally(() => {
      over = true;
    });
  return { over: () => over };
}

function copies(server: Server, canaries: readonly string[], pids: readonly number[]): number {
  let count = 0;
  for (const pid of pids) if (alive(pid)) count += scanProcess(pid, canaries).total;
  for (const file of filesBelow(server.state)) {
    const content = readFileSync(file);
    count += canaries.filter((canary) => content.includes(canary)).length;
  }
  return count + canaries.filter((canary) => server.output().includes(canary)).length;
}

/** What a kill of this process must lead to; a crash of the pair is answered by a fresh one, at most three times. */
const survivors: Readonly<Record<(typeof victims)[number], readonly string[]>> = {
  engine: ['supervisor', 'watchdog'],
  gateway: ['supervisor', 'watchdog'],
  watchdog: [],
  supervisor: [],
};

async function strike(server: Server, victim: (typeof victims)[number], told: Killed): Promise<boolean> {
  const canaries = [canaryOf(), canaryOf()];
  const answers = await Promise.all(canaries.map(async (canary) => await longAnswer(server, canary)));
  const before = server.pids();
  const working = openWorkingSet(server);
  const words = pagesOf(working);
  if (copiesIn(words, canaries) > 0) told.words += 1;
  const earlier = overwritten(server).length;
  const all = tree(server.pid);
  const pid = before[victim];
  if (pid === undefined) throw new Error(`there is no ${victim}`);
  process.kill(pid, 'SIGKILL');
  told.kills += 1;
  const lasting = survivors[victim].map((role) => before[role]);
  const ending = all.filter((one) => !lasting.includes(one));
  const took = await waitFor(() => ending.every((one) => !alive(one)), hangMs);
  told.slowestEndMs = Math.max(told.slowestEndMs, took);
  if (took > (timesCount ? endMs : hangMs)) told.wrong.push(`${victim}: what must end took ${took.toFixed(0)} ms`);
  await waitFor(() => answers.every((answer) => answer.over()), hangMs);
  const hung = answers.filter((answer) => !answer.over()).length;
  told.hung += hung;
  if (hung > 0) told.wrong.push(`${victim}: ${hung} clients wait`);
  const lives = survivors[victim].length > 0;
  if (lives) {
    await waitFor(() => {
      const now = server.pids();
      return now['engine'] !== undefined && now['gateway'] !== undefined;
    }, hangMs);
    const again = await call(
      server,
      '/v1/chat/completions',
      { model: 'guide', max_tokens: 2, messages: [{ role: 'user', content: 'still there?' }] },
      { signal: AbortSignal.timeout(20_000) },
    )
      .then(async (response) => {
        await response.text();
        return response.status;
      })
      .catch(() => 0);
    if (again === 200) told.restarted += 1;
    else told.wrong.push(`${victim}: no answer afterwards (${again})`);
  }
  // Nobody is left to overwrite when it was the supervisor: the kernel takes the pages back.
  if (victim !== 'supervisor') {
    await waitFor(() => overwritten(server).length > earlier, hangMs);
    const faults = overwritten(server).length > earlier ? faultsOf(working, canaries, words) : ['no event'];
    if (faults.length === 0) told.overwritten += 1;
    else told.wrong.push(`${victim}: the working set: ${faults.slice(0, 3).join(', ')}`);
  }
  closeSync(working);
  const found = copies(server, canaries, lives ? tree(server.pid) : []);
  told.found += found;
  if (found > 0) told.wrong.push(`${victim}: ${found} copies`);
  return lives;
}

/** Kills so many times; a server that may not start another pair is replaced. */
export async function killMany(count: number, tell: (told: Killed) => void = () => undefined): Promise<Killed> {
  const told: Killed = {
    kills: 0,
    slowestEndMs: 0,
    hung: 0,
    restarted: 0,
    found: 0,
    words: 0,
    overwritten: 0,
    wrong: [],
  };
  let server: Server | undefined;
  using state = makeState(); // it outlives each server: what is left there is looked at after a death
  let left = 0;
  try {
    while (told.kills < count) {
      if (server === undefined || left === 0) {
        await server?.stop();
        server = await startServer({ state: state.path, args: ['--acknowledge-violation'] });
        left = 4; // three of them may be answered by a fresh pair, the last one ends it all
      }
      // Three crashes of the pair, then what ends the whole server.
      const victim =
        left > 1
          ? (victims[told.kills % 2] ?? 'engine')
          : (victims[2 + (Math.floor(told.kills / 4) % 2)] ?? 'watchdog');
      left -= 1;
      if (!(await strike(server, victim, told))) {
        await server.ended;
        server = undefined;
      }
      tell(told);
    }
  } finally {
    await server?.stop();
  }
  return told;
}
