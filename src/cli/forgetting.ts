/**
 * The attempts of `kwyre prove` on layer 5: a conversation full of words that exist nowhere else, then a search for them in
 * the memory of every process of the second server, in its files and in what it printed.
 *
 * Promise: the search is first shown to find what is there; a search that could not be made is never taken for nothing found.
 * Limits:  looks into the second server by `process_vm_readv`, which leaves no descriptor for the watchdog to see (L6-03) and
 *          which only root can do: the roles are not dumpable. Runs of token ids are searched for by the project's tests.
 * Proof:   test/e2e/prove.test.ts, test/attacks/5-prove.test.ts, test/unit/cli/proof.test.ts
 * @module
 */
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LinuxError } from '../linux/ffi.ts';
import { readJson, send } from './client.ts';
import { livingRoles } from './confinement.ts';
import type { Running } from './instance.ts';
import type { Proof } from './proof.ts';
import { beginRequest } from './raw.ts';
import { readMemory, regionsOf, scanProcess } from './scanner.ts';

const places = ['supervisor', 'gateway', 'engine', 'watchdog'] as const;
type Place = (typeof places)[number];

/** What the second server leaves outside of its memory. */
export type Traces = { readonly folder: string; readonly said: () => string };

const settleMs = 500;
const mostUnreadable = 64 * 1024;
const secretRegion = 'secretmem';
const words = {
  control: { ids: 'L5-01', attempt: 'control: the search finds a request that is under way', expected: 'found' },
  between: { ids: 'L5-01 L5-18', attempt: 'words of a conversation between two turns, in memory', expected: 'nothing found' },
  keys: { ids: 'L5-17', attempt: 'the keys of conversations, read by root', expected: 'refused by the kernel' },
  after: { ids: 'L5-01 L5-04', attempt: 'words of a conversation after its end, in memory', expected: 'nothing found' },
  files: { ids: 'L5-19 L5-20', attempt: 'words of a conversation in the state folder and in what was printed', expected: 'nothing found' },
  stranger: { ids: 'L6-02', attempt: 'memory read by another program of the same user', expected: 'refused by the kernel' },
} as const;
type Attempt = keyof typeof words;

const proof = (attempt: Attempt, where: string, got: string, verdict: Proof['verdict']): Proof => ({ layer: 5, ...words[attempt], where, got, verdict });

/** Words that exist nowhere else. */
const freshWord = (): string => `canary${randomBytes(9).toString('hex')}tail`;

/** What a scan of one process came to. */
type Found = { readonly copies: number; readonly bytes: number; readonly unreadable: number };

function search(pid: number, needles: readonly string[]): Found {
  const { total, bytes, unreadable } = scanProcess(pid, needles);
  const sizes = regionsOf(pid).filter(({ name }) => unreadable.includes(name) && !name.includes(secretRegion)).reduce((sum, { from, to }) => sum + Number(to - from), 0);
  return { copies: total, bytes, unreadable: sizes };
}

/** Judges a search of one process; pure. */
export function judgeSearch(attempt: 'between' | 'after', where: string, found: Found | string): Proof {
  if (typeof found === 'string') return proof(attempt, where, `not tried: ${found}`, 'not-proved');
  if (found.copies > 0) return proof(attempt, where, `${found.copies} copies`, 'breached');
  if (found.bytes === 0) return proof(attempt, where, 'not tried: no memory could be read', 'not-proved');
  if (found.unreadable > mostUnreadable) return proof(attempt, where, `not tried: ${found.unreadable} bytes could not be read`, 'not-proved');
  return proof(attempt, where, 'nothing found', 'held');
}

/** One turn, its words in every field that carries text; gives a piece of the answer too. */
async function speak(server: Running, [system = '', user = '', note = '']: readonly string[]): Promise<string | undefined> {
  const body = { model: 'guide', instructions: `Remember ${system}\n"quoted"`, input: `What does layer 5 do? ${user} \u00fc`, max_output_tokens: 24, temperature: 1.7, metadata: { note } };
  const answer = (await readJson(await send({ presence: server, token: server.token }, 'POST', '/v1/responses', Buffer.from(JSON.stringify(body))))) as { output?: { content?: { text?: string }[] }[] };
  const text = answer.output?.[0]?.content?.[0]?.text ?? '';
  return /^[\x20-\x7e]{48,}$/.test(text) ? text.slice(8, 48) : undefined;
}

async function request(server: Running, method: string, path: string): Promise<void> {
  await readJson(await send({ presence: server, token: server.token }, method, path));
}

/** Begins a request and looks for its words while it waits for its rest. */
async function proveControl(server: Running, pids: ReadonlyMap<Place, number>): Promise<Proof> {
  const word = freshWord();
  const body = Buffer.from(JSON.stringify({ model: 'guide', messages: [{ role: 'user', content: word }] }));
  const head = ['POST /v1/chat/completions HTTP/1.1', `Host: 127.0.0.1:${server.port}`, `Authorization: Bearer ${server.token}`, 'Content-Type: application/json', `Content-Length: ${body.length + 100}`, '', ''].join('\r\n');
  const end = await beginRequest('127.0.0.1', server.port, Buffer.concat([Buffer.from(head), body]));
  await sleep(settleMs);
  const copies = [...pids.values()].reduce((sum, pid) => sum + search(pid, [word]).copies, 0);
  end();
  await sleep(settleMs);
  return proof('control', 'server', copies > 0 ? `found, ${copies} ${copies === 1 ? 'copy' : 'copies'}` : 'not found: the search is blind here', copies > 0 ? 'held' : 'not-proved');
}

function proveKeys(engine: number): Proof {
  const region = regionsOf(engine).find(({ name }) => name.includes(secretRegion));
  if (region === undefined) return proof('keys', 'engine', 'not tried: this kernel has no secret memory; ./kwyre doctor says why', 'not-proved');
  try {
    readMemory(engine, Buffer.alloc(32), 32, region.from);
    return proof('keys', 'engine', 'read', 'breached');
  } catch (error) {
    if (!(error instanceof LinuxError)) throw error;
    return proof('keys', 'engine', `refused (${error.code})`, 'held');
  }
}

function proveFiles({ folder, said }: Traces, needles: readonly string[]): Proof {
  const names = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const holding = names.filter((name) => { const text = readFileSync(name, 'latin1'); return needles.some((needle) => text.includes(needle)); });
  const printed = needles.some((needle) => said().includes(needle));
  const got = holding.length === 0 && !printed ? 'nothing found' : [...holding.map(() => 'a file'), ...(printed ? ['what was printed'] : [])].join(', ');
  return proof('files', 'server', got, got === 'nothing found' ? 'held' : 'breached');
}

/** Who runs this may not look: then that is the attempt. */
function proveStranger(pids: ReadonlyMap<Place, number>): Proof[] {
  return [...pids].filter(([place]) => place !== 'supervisor').map(([place, pid]): Proof => {
    try {
      readMemory(pid, Buffer.alloc(1), 1, 0x10000n);
      return proof('stranger', place, 'read', 'breached');
    } catch (error) {
      if (!(error instanceof LinuxError)) throw error;
      const refused = error.code === 'EPERM';
      return proof('stranger', place, `${refused ? 'refused' : 'not tried:'} (${error.code})`, refused ? 'held' : error.code === 'EFAULT' ? 'breached' : 'not-proved');
    }
  });
}

/** Makes every attempt on layer 5; memory is searched as root only, and NOT PROVED otherwise. */
export async function proveForgetting(server: Running | undefined, traces: Traces, why: string, tell: (proofs: readonly Proof[]) => void): Promise<Proof[]> {
  const told: Proof[] = [];
  const show = (group: readonly Proof[]): void => {
    told.push(...group);
    tell(group);
  };
  const unproven = (reason: string, attempts: readonly Attempt[]): void => {
    for (const attempt of attempts) show([proof(attempt, 'server', `not tried: ${reason}`, 'not-proved')]);
  };
  if (server === undefined) {
    unproven(`the second server did not start: ${why}`, ['control', 'between', 'keys', 'after', 'files']);
    return told;
  }
  const pids = new Map<Place, number>([['supervisor', server.pid], ...livingRoles(server.pid)]);
  const everywhere = (attempt: 'between' | 'after', needles: readonly string[]): void => {
    show(places.map((place) => { const pid = pids.get(place); return judgeSearch(attempt, place, pid === undefined ? 'the process was not found' : search(pid, needles)); }));
  };
  const root = process.getuid?.() === 0;
  if (root) show([await proveControl(server, pids)]);
  const needles = [freshWord(), freshWord(), freshWord()];
  const piece = await speak(server, needles);
  if (piece !== undefined) needles.push(piece);
  // Another request takes the place of the last one in the buffers that all share.
  await request(server, 'GET', '/v1/models');
  await sleep(settleMs);
  const engine = pids.get('engine');
  if (root) {
    everywhere('between', needles);
    if (engine !== undefined) show([proveKeys(engine)]);
  } else show(proveStranger(pids));
  await request(server, 'DELETE', '/kwyre/sessions');
  await sleep(settleMs);
  if (root) everywhere('after', needles);
  else unproven('only root can look into its memory: sudo ./kwyre prove --layer 5', ['between', 'keys', 'after']);
  show([proveFiles(traces, needles)]);
  return told;
}
