/**
 * The attempts of `kwyre prove` on layer 5: a conversation full of words that exist nowhere else, then a search for
 * them in the memory of every process of the second server, in its files and in what it printed.
 *
 * Promise: the search is first shown to find what is there; a search that could not be made is never taken for nothing
 *          found.
 * Limits:  looks into the second server by `process_vm_readv`, which leaves no descriptor for the watchdog to see
 *          (L6-03) and which only root can do: the roles are not dumpable. Runs of token ids are searched for by the
 *          project's tests.
 * Proof:   test/e2e/prove.test.ts, test/attacks/5-prove.test.ts, test/unit/cli/attempt.test.ts
 * @module
 */
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readJson, send } from '../client.ts';
import { livingRoles } from './jail.ts';
import type { Running } from './target-server.ts';
import type { Proof } from './attempt.ts';
import { beginRequest } from './raw-http.ts';
import type { Scan } from './memory-scanner.ts';
import { countCopies, patternsOf, readMemory, regionsOf, scanProcess, Searcher } from './memory-scanner.ts';

const places = ['supervisor', 'gateway', 'engine', 'watchdog'] as const;
type Place = (typeof places)[number];

/** What the second server leaves outside of its memory; `said` is `undefined` when it printed too much to keep. */
export type Traces = { readonly folder: string; readonly said: () => Buffer | undefined };

const settleMs = 500;
const mostUnreadable = 64 * 1024;
const secretRegion = 'secretmem';
const words = {
  control: { ids: 'L5-01', attempt: 'control: the search finds a request that is under way', expected: 'found' },
  stranger: {
    ids: 'L6-02',
    attempt: 'memory read by another program of the same user',
    expected: 'refused by the kernel',
  },
  between: {
    ids: 'L5-01 L5-18',
    attempt: 'words of a conversation between two turns, in memory',
    expected: 'nothing found',
  },
  keys: { ids: 'L5-17', attempt: 'the keys of conversations, read by root', expected: 'refused by the kernel' },
  after: { ids: 'L5-01 L5-04', attempt: 'words of a conversation after its end, in memory', expected: 'nothing found' },
  files: {
    ids: 'L5-19 L5-20',
    attempt: 'words of a conversation in the state folder and in what was printed',
    expected: 'nothing found',
  },
} as const;
type Attempt = keyof typeof words;
/** What each can try; an ordinary user is told of what only root could. */
const asked = {
  root: ['control', 'between', 'keys', 'after', 'files'],
  ordinary: ['stranger', 'between', 'keys', 'after', 'files'],
} as const satisfies Record<string, readonly Attempt[]>;

const proof = (attempt: Attempt, where: string, got: string, verdict: Proof['verdict']): Proof => ({
  layer: 5,
  ...words[attempt],
  where,
  got,
  verdict,
});
const untried = (attempt: Attempt, where: string, why: string): Proof =>
  proof(attempt, where, `not tried: ${why}`, 'not-proved');
const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : 'no reason given';

/** Words that exist nowhere else. */
const freshWord = (): string => `canary${randomBytes(9).toString('hex')}tail`;

/** What a search of one process came to. */
type Found = Pick<Scan, 'total' | 'bytes' | 'unreadableBytes'>;

/** Searches one process; a text says why it could not be done. */
function search(pid: number | undefined, needles: readonly string[]): Found | string {
  if (pid === undefined) return 'the process was not found';
  try {
    return scanProcess(pid, needles);
  } catch (error) {
    return `its memory cannot be read (${codeOf(error)})`;
  }
}

/** Judges a search of one process; pure. */
export function judgeSearch(attempt: 'between' | 'after', where: string, found: Found | string): Proof {
  if (typeof found === 'string') return untried(attempt, where, found);
  if (found.total > 0) return proof(attempt, where, `${found.total} copies`, 'breached');
  if (found.bytes === 0) return untried(attempt, where, 'no memory could be read');
  if (found.unreadableBytes > mostUnreadable)
    return untried(attempt, where, `${found.unreadableBytes} bytes could not be read`);
  return proof(attempt, where, 'nothing found', 'held');
}

/** One turn, its words in every field that carries text; gives a piece of the answer too. */
async function speak(
  server: Running,
  [system = '', user = '', note = '']: readonly string[],
): Promise<string | undefined> {
  const body = {
    model: 'guide',
    instructions: `Remember ${system}\n"quoted"`,
    input: `What does layer 5 do? ${user} \u00fc`,
    max_output_tokens: 24,
    temperature: 1.7,
    metadata: { note },
  };
  const answer = (await request(server, 'POST', '/v1/responses', Buffer.from(JSON.stringify(body)))) as {
    output?: { content?: { text?: string }[] }[];
  };
  const text = answer.output?.[0]?.content?.[0]?.text ?? '';
  return /^[\x20-\x7e]{48,}$/.test(text) ? text.slice(8, 48) : undefined;
}

async function request(server: Running, method: string, path: string, body?: Buffer): Promise<unknown> {
  return await readJson(await send({ presence: server, token: server.token }, method, path, body));
}

/** Begins a request and looks for its words while it waits for its rest. */
async function proveControl(server: Running, pids: ReadonlyMap<Place, number>): Promise<Proof> {
  const word = freshWord();
  const end = await beginRequest(
    server,
    Buffer.from(JSON.stringify({ model: 'guide', messages: [{ role: 'user', content: word }] })),
  );
  await sleep(settleMs);
  const found = [...pids.values()].map((pid) => search(pid, [word]));
  end();
  await sleep(settleMs);
  const copies = found.reduce((sum, one) => sum + (typeof one === 'string' ? 0 : one.total), 0);
  return copies > 0
    ? proof('control', 'server', `found, ${copies} ${copies === 1 ? 'copy' : 'copies'}`, 'held')
    : untried('control', 'server', 'the search is blind here');
}

function proveKeys(engine: number | undefined): Proof {
  if (engine === undefined) return untried('keys', 'engine', 'the process was not found');
  const region = regionsOf(engine).find(({ name }) => name.includes(secretRegion));
  if (region === undefined)
    return untried('keys', 'engine', 'this kernel has no secret memory; ./kwyre doctor says why');
  try {
    readMemory(engine, Buffer.alloc(32), 32, region.from);
  } catch (error) {
    // Any other answer than this is not about the memory.
    return codeOf(error) === 'EFAULT'
      ? proof('keys', 'engine', 'refused (EFAULT)', 'held')
      : untried('keys', 'engine', codeOf(error));
  }
  return proof('keys', 'engine', 'read', 'breached');
}

function proveFiles({ folder, said }: Traces, needles: readonly string[]): Proof {
  const searcher = new Searcher(patternsOf(needles));
  const names = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  const files = names.reduce((sum, name) => sum + countCopies(readFileSync(name), searcher), 0);
  const printed = said();
  const copies = files + (printed === undefined ? 0 : countCopies(printed, searcher));
  if (copies > 0) return proof('files', 'server', `${copies} copies`, 'breached');
  return printed === undefined
    ? untried('files', 'server', 'it printed more than can be searched')
    : proof('files', 'server', 'nothing found', 'held');
}

/** Who is not root may not look: then that is the attempt. */
function proveStranger(place: Place, pid: number | undefined): Proof {
  if (pid === undefined) return untried('stranger', place, 'the process was not found');
  try {
    readMemory(pid, Buffer.alloc(1), 1, 0x10000n);
  } catch (error) {
    const code = codeOf(error);
    if (code === 'EPERM') return proof('stranger', place, 'refused (EPERM)', 'held');
    // Nothing lies at that address: the kernel looked, which is the right that nobody may have.
    if (code !== 'EFAULT') return untried('stranger', place, code);
  }
  return proof('stranger', place, 'allowed', 'breached');
}

/** Makes the attempts in turn; whatever is not shown when it ends or throws was not tried. */
async function attack(
  server: Running,
  traces: Traces,
  root: boolean,
  show: (group: readonly Proof[]) => void,
): Promise<void> {
  const pids = new Map<Place, number>([['supervisor', server.pid], ...livingRoles(server.pid)]);
  const everywhere = (attempt: 'between' | 'after', needles: readonly string[]): void => {
    show(places.map((place) => judgeSearch(attempt, place, search(pids.get(place), needles))));
  };
  if (root) show([await proveControl(server, pids)]);
  else show(places.map((place) => proveStranger(place, pids.get(place))));
  const needles = [freshWord(), freshWord(), freshWord()];
  const piece = await speak(server, needles);
  if (piece !== undefined) needles.push(piece);
  // Another request takes the place of the last one in the buffers that all share.
  await request(server, 'GET', '/v1/models');
  await sleep(settleMs);
  if (root) {
    everywhere('between', needles);
    show([proveKeys(pids.get('engine'))]);
  }
  await request(server, 'DELETE', '/kwyre/sessions');
  await sleep(settleMs);
  if (root) everywhere('after', needles);
  show([proveFiles(traces, needles)]);
}

/** Makes every attempt on layer 5; memory is searched as root only, and NOT PROVED otherwise. */
export async function proveForgetting(
  server: Running | undefined,
  traces: Traces,
  why: string,
  tell: (proofs: readonly Proof[]) => void,
): Promise<Proof[]> {
  const told: Proof[] = [];
  const show = (group: readonly Proof[]): void => {
    told.push(...group);
    tell(group);
  };
  const root = process.getuid?.() === 0;
  let reason =
    "only root can look into its memory, and root runs only what nobody else can change: in a checkout of root's own, ./kwyre prove --layer 5";
  if (server === undefined) reason = `the second server did not start: ${why}`;
  else {
    try {
      await attack(server, traces, root, show);
    } catch (error) {
      reason = `the second server gave no answer (${codeOf(error)})`;
    }
  }
  for (const attempt of asked[root ? 'root' : 'ordinary']) {
    if (!told.some((one) => one.attempt === words[attempt].attempt)) show([untried(attempt, 'server', reason)]);
  }
  return told;
}
