/**
 * The layer 5 attempts of `kwyre prove`. They hold a conversation that contains unique words, then search for these
 * words in the memory of every process of the second server, in its files and in its output.
 *
 * Promise: a control first shows that the search finds text that is present. A search that could not be made never
 *          counts as "nothing found".
 * Limits:  the memory is read with `process_vm_readv`, which opens no descriptor that the watchdog could see (L6-03).
 *          Only root can use this call on processes that are not dumpable. Only the project's tests search for runs of
 *          token ids.
 * Proof:   test/e2e/prove.test.ts, test/attacks/5-prove.test.ts, test/unit/cli/attempt.test.ts
 * @module
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readJson, send } from '../client.ts';
import { runningRoles } from './jail.ts';
import type { TargetServer } from './target-server.ts';
import type { Proof } from './attempt.ts';
import { beginRequest } from './raw-http.ts';
import type { Scan } from './memory-scanner.ts';
import { countCopies, patternsOf, readMemory, regionsOf, scanProcess, Searcher } from './memory-scanner.ts';

const { randomBytes } = process.getBuiltinModule('node:crypto');

const places = ['supervisor', 'gateway', 'engine', 'watchdog'] as const;
type Place = (typeof places)[number];

/** Traces that the second server leaves outside memory; `output` returns `undefined` if it printed too much to keep. */
type Traces = { readonly folder: string; readonly output: () => Buffer | undefined };

const settleMs = 500;
const maxUnreadableBytes = 64 * 1024;
const secretRegion = 'secretmem';
const attempts = {
  control: { ids: 'L5-01', attempt: 'control: the search finds a request in progress', expected: 'found' },
  peer: {
    ids: 'L6-02',
    attempt: 'another program of the same user reads the memory',
    expected: 'refused by the kernel',
  },
  between: {
    ids: 'L5-01 L5-18',
    attempt: 'text of a conversation in memory, between two turns',
    expected: 'nothing found',
  },
  keys: { ids: 'L5-17', attempt: 'root reads the keys of conversations', expected: 'refused by the kernel' },
  after: {
    ids: 'L5-01 L5-04',
    attempt: 'text of a conversation in memory, after it was deleted',
    expected: 'nothing found',
  },
  files: {
    ids: 'L5-19 L5-20',
    attempt: 'text of a conversation in the state folder and in the output',
    expected: 'nothing found',
  },
} as const;
type Attempt = keyof typeof attempts;
/**
 * The attempts listed for each kind of user. An ordinary user's list also shows those that only root can make; they are
 * reported as not tried.
 */
const listed = {
  root: ['control', 'between', 'keys', 'after', 'files'],
  ordinary: ['peer', 'between', 'keys', 'after', 'files'],
} as const satisfies Record<string, readonly Attempt[]>;

const proof = (attempt: Attempt, where: string, got: string, verdict: Proof['verdict']): Proof => ({
  layer: 5,
  ...attempts[attempt],
  where,
  got,
  verdict,
});
const untried = (attempt: Attempt, where: string, why: string): Proof =>
  proof(attempt, where, `not tried: ${why}`, 'not-proved');
const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : 'no reason given';

/** Returns a word that exists nowhere else. */
const uniqueWord = (): string => `canary${randomBytes(9).toString('hex')}tail`;

/** The result of searching one process. */
type Found = Pick<Scan, 'total' | 'bytes' | 'unreadableBytes'>;

/** Searches one process. @returns the result, or the reason why it could not be searched */
function search(pid: number | undefined, needles: readonly string[]): Found | string {
  if (pid === undefined) return 'the process was not found';
  try {
    return scanProcess(pid, needles);
  } catch (error) {
    return `its memory cannot be read (${codeOf(error)})`;
  }
}

/** Turns the result of searching one process into a verdict. Pure. @internal */
export function judgeSearch(attempt: 'between' | 'after', where: string, found: Found | string): Proof {
  if (typeof found === 'string') return untried(attempt, where, found);
  if (found.total > 0) return proof(attempt, where, `${found.total} copies`, 'breached');
  if (found.bytes === 0) return untried(attempt, where, 'no memory could be read');
  if (found.unreadableBytes > maxUnreadableBytes)
    return untried(attempt, where, `${found.unreadableBytes} bytes could not be read`);
  return proof(attempt, where, 'nothing found', 'held');
}

/**
 * Runs one turn with the words in every field that carries text.
 * @returns a piece of the answer, if it is long enough to be unique
 */
async function makeTurn(
  server: TargetServer,
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

async function request(server: TargetServer, method: string, path: string, body?: Buffer): Promise<unknown> {
  return await readJson(await send({ presence: server, token: server.token }, method, path, body));
}

/** Begins a request, and searches for its text while the server waits for the rest of the request. */
async function proveControl(server: TargetServer, pids: ReadonlyMap<Place, number>): Promise<Proof> {
  const word = uniqueWord();
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
    : untried('control', 'server', 'the search did not find text that is present');
}

function proveKeys(engine: number | undefined): Proof {
  if (engine === undefined) return untried('keys', 'engine', 'the process was not found');
  const region = regionsOf(engine).find(({ name }) => name.includes(secretRegion));
  if (region === undefined)
    return untried('keys', 'engine', 'this kernel has no secret memory; ./kwyre doctor says why');
  try {
    readMemory(engine, Buffer.alloc(32), 32, region.from);
  } catch (error) {
    // Any other error does not show whether the memory can be accessed.
    return codeOf(error) === 'EFAULT'
      ? proof('keys', 'engine', 'refused (EFAULT)', 'held')
      : untried('keys', 'engine', codeOf(error));
  }
  return proof('keys', 'engine', 'allowed', 'breached');
}

function proveFiles({ folder, output }: Traces, needles: readonly string[]): Proof {
  const searcher = new Searcher(patternsOf(needles));
  const names = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  const files = names.reduce((sum, name) => sum + countCopies(readFileSync(name), searcher), 0);
  const printed = output();
  const copies = files + (printed === undefined ? 0 : countCopies(printed, searcher));
  if (copies > 0) return proof('files', 'server', `${copies} copies`, 'breached');
  return printed === undefined
    ? untried('files', 'server', 'it printed more than can be searched')
    : proof('files', 'server', 'nothing found', 'held');
}

/** For an ordinary user, who cannot search memory, the attempt is to read any of it. */
function provePeer(place: Place, pid: number | undefined): Proof {
  if (pid === undefined) return untried('peer', place, 'the process was not found');
  try {
    readMemory(pid, Buffer.alloc(1), 1, 0x10000n);
  } catch (error) {
    const code = codeOf(error);
    if (code === 'EPERM') return proof('peer', place, 'refused (EPERM)', 'held');
    // EFAULT: nothing is mapped at that address, but the kernel allowed the access, which is the breach.
    if (code !== 'EFAULT') return untried('peer', place, code);
  }
  return proof('peer', place, 'allowed', 'breached');
}

/**
 * Makes the attempts one after another. Any attempt that it has not reported when it returns or throws was not made.
 */
async function attack(
  server: TargetServer,
  traces: Traces,
  root: boolean,
  show: (group: readonly Proof[]) => void,
): Promise<void> {
  const pids = new Map<Place, number>([['supervisor', server.pid], ...runningRoles(server.pid)]);
  const everywhere = (attempt: 'between' | 'after', needles: readonly string[]): void => {
    show(places.map((place) => judgeSearch(attempt, place, search(pids.get(place), needles))));
  };
  if (root) show([await proveControl(server, pids)]);
  else show(places.map((place) => provePeer(place, pids.get(place))));
  const needles = [uniqueWord(), uniqueWord(), uniqueWord()];
  const piece = await makeTurn(server, needles);
  if (piece !== undefined) needles.push(piece);
  // Another request overwrites the previous one in the buffers that all requests share.
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

/**
 * Makes every attempt on layer 5. Only root can search memory; for other users those attempts are not proved.
 * @param why - why there is no second server
 * @param tell - called with each result
 */
export async function proveMemory(
  server: TargetServer | undefined,
  traces: Traces,
  why: string,
  tell: (proofs: readonly Proof[]) => void,
): Promise<Proof[]> {
  const shown: Proof[] = [];
  const show = (group: readonly Proof[]): void => {
    shown.push(...group);
    tell(group);
  };
  const root = process.getuid?.() === 0;
  let reason =
    'only root can read its memory; as root, in an installation that only root can change: ./kwyre prove --layer 5';
  if (server === undefined) reason = `the second server did not start: ${why}`;
  else {
    try {
      await attack(server, traces, root, show);
    } catch (error) {
      reason = `the second server did not answer (${codeOf(error)})`;
    }
  }
  for (const attempt of listed[root ? 'root' : 'ordinary']) {
    if (!shown.some((one) => one.attempt === attempts[attempt].attempt)) show([untried(attempt, 'server', reason)]);
  }
  return shown;
}
