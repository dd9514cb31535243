/**
 * Conversations of every kind that a client may have with a real server, each with a canary of its own in every field
 * that carries text: what a scan of memory has to look for afterwards.
 * @module
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Needle } from '../../src/cli/prove/memory-scanner.ts';
import { scanProcess } from '../../src/cli/prove/memory-scanner.ts';
import type { Server } from './server.ts';
import { call } from './server.ts';
import { countRuns, tokenRuns } from './tokens.ts';

export const canaryOf = (): string => `canary${randomBytes(9).toString('hex')}tail`;

/** What conversations left with their client. */
export type Said = {
  readonly canaries: string[];
  /**
   * Ids of finished responses: a frame that bears one must be nowhere. The bare ids are numbers without a word, and may
   * be.
   */
  readonly responses: string[];
  /** Pieces of answers, their framing taken out. */
  readonly answers: string[];
  /** How often each kind ran, by status. */
  readonly statuses: Record<string, number>;
  /** Requests that were neither answered nor refused in time. */
  hung: number;
};

type Act = (server: Server, canary: string, said: Said) => Promise<number>;

const turnMs = 60_000;
const texts = (canary: string) => [
  { role: 'system', content: `Remember ${canary}\n"quoted"` },
  { role: 'user', content: [{ type: 'text', text: `What does layer 5 do? ${canary} \u00fc` }] },
];
const chat = (canary: string, more: object = {}) => ({
  model: 'guide',
  max_tokens: 24,
  temperature: 1.7,
  messages: texts(canary),
  stop: [`${canary}!`],
  user: canary,
  metadata: { note: canary },
  ...more,
});

/** Takes an answer as its client would, and remembers what to look for. */
async function take(response: Response, said: Said): Promise<number> {
  const text = await response.text();
  for (const id of new Set(text.match(/(?:chatcmpl-|resp_)[0-9a-f]{16,}/g))) said.responses.push(id);
  const words =
    text.startsWith('data: ') || text.includes('\ndata: ')
      ? [...text.matchAll(/^data: (\{.*\})$/gm)]
          .map(
            ([, json = '{}']) =>
              (JSON.parse(json) as { choices?: { delta: { content?: string } }[] }).choices?.[0]?.delta.content ?? '',
          )
          .join('')
      : (/"content":"((?:[^"\\]|\\.)*)"/.exec(text)?.[1] ?? '');
  if (/^[\x20-\x7e]{48,}$/.test(words) && !words.includes('\\')) said.answers.push(words.slice(8, 48));
  return response.status;
}

const post = async (
  server: Server,
  path: string,
  body: unknown,
  said: Said,
  headers: Record<string, string> = {},
): Promise<number> =>
  await take(await call(server, path, body, { headers, signal: AbortSignal.timeout(turnMs) }), said);

/** Every kind, in the order in which they take turns. */
const acts: Readonly<Record<string, Act>> = {
  chat: async (server, canary, said) => await post(server, '/v1/chat/completions', chat(canary), said),
  stream: async (server, canary, said) =>
    await post(server, '/v1/chat/completions', chat(canary, { stream: true }), said),
  response: async (server, canary, said) =>
    await post(
      server,
      '/v1/responses',
      { model: 'guide', input: `${canary} what is layer 5?`, instructions: canary, max_output_tokens: 16 },
      said,
    ),
  async chain(server, canary, said) {
    const first = await call(server, '/v1/responses', { model: 'guide', input: `${canary} one`, max_output_tokens: 8 });
    const { id } = (await first.json()) as { id: string };
    said.responses.push(id);
    return await post(
      server,
      '/v1/responses',
      { model: 'guide', input: `${canary} two`, previous_response_id: id, max_output_tokens: 8 },
      said,
    );
  },
  async conversation(server, canary, said) {
    const made = await call(server, '/v1/conversations', {
      items: [{ type: 'message', role: 'user', content: canary }],
    });
    const { id } = (await made.json()) as { id: string };
    await post(
      server,
      `/v1/conversations/${id}/items`,
      { items: [{ type: 'message', role: 'user', content: `${canary} more` }] },
      said,
    );
    await call(server, `/v1/conversations/${id}/items`).then(async (response) => await response.text());
    return await post(
      server,
      '/v1/responses',
      { model: 'guide', conversation: id, input: `${canary} and now?`, max_output_tokens: 8 },
      said,
    );
  },
  async session(server, canary, said) {
    const first = await call(server, '/v1/chat/completions', chat(canary), { headers: { 'kwyre-session': 'new' } });
    const id = first.headers.get('kwyre-session') ?? '';
    await take(first, said);
    return await post(
      server,
      '/v1/chat/completions',
      { model: 'guide', max_tokens: 8, messages: [{ role: 'user', content: `${canary} again` }] },
      said,
      { 'kwyre-session': id },
    );
  },
  async aborted(server, canary) {
    const abort = new AbortController();
    const response = await call(server, '/v1/chat/completions', chat(canary, { stream: true, max_tokens: 400 }), {
      signal: abort.signal,
    });
    await response.body?.getReader().read();
    abort.abort();
    return response.status;
  },
  errored: async (server, canary, said) =>
    await post(
      server,
      '/v1/chat/completions',
      chat(canary, {
        temperature: 99,
        tools: [
          {
            type: 'function',
            function: { name: canary, parameters: { type: 'object', properties: { [canary]: { type: 'string' } } } },
          },
        ],
      }),
      said,
    ),
  schema: async (server, canary, said) =>
    await post(
      server,
      '/v1/chat/completions',
      chat(canary, {
        response_format: {
          type: 'json_schema',
          json_schema: { name: canary, schema: { type: 'object', title: canary } },
        },
      }),
      said,
    ),
  overlong: async (server, canary, said) =>
    await post(
      server,
      '/v1/chat/completions',
      { model: 'guide', messages: [{ role: 'user', content: `${canary} word `.repeat(2000) }] },
      said,
    ),
  invalid: async (server, canary, said) =>
    await take(
      await call(server, '/v1/chat/completions', undefined, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: `{"model":"guide","messages":[{"role":"user","content":"${canary}\\x`,
      }),
      said,
    ),
};
export const kinds: readonly string[] = Object.keys(acts);

export function nothingSaid(): Said {
  return { canaries: [], responses: [], answers: [], statuses: {}, hung: 0 };
}

/** Holds so many conversations, so many at a time. */
export async function converse(server: Server, count: number, parallel: number): Promise<Said> {
  const said = nothingSaid();
  let next = 0;
  const worker = async () => {
    while (next < count) {
      const kind = kinds[next % kinds.length] ?? '';
      next += 1;
      const canary = canaryOf();
      said.canaries.push(canary);
      let status = 0;
      try {
        status = (await acts[kind]?.(server, canary, said)) ?? 0;
      } catch (error) {
        if ((error as Error).name === 'TimeoutError') said.hung += 1;
      }
      const key = `${kind} ${status}`;
      said.statuses[key] = (said.statuses[key] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: parallel }, worker));
  return said;
}

/** Waits until no conversation is left; at most `ms`. */
export async function allEnded(server: Server, ms: number): Promise<void> {
  const until = performance.now() + ms;
  for (;;) {
    const { data } = (await (await call(server, '/kwyre/sessions')).json()) as { data: unknown[] };
    if (data.length === 0) break;
    if (performance.now() > until) throw new Error(`${data.length} conversations are still there`);
    await sleep(250);
  }
  await sleep(1000); // cells of the last turn are overwritten when nothing computes
}

/** What a scan of everything found. */
export type Left = {
  readonly memory: Readonly<Record<string, number>>;
  readonly tokens: Readonly<Record<string, number>>;
  readonly megabytes: number;
  readonly disk: number;
  readonly files: number;
  readonly log: number;
  readonly seen: readonly string[];
};

/** Every file below a folder, as far as it can be read. */
export function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

/** Looks for all that was said in every process of the server, in its folders, and in what it printed. */
export async function lookFor(server: Server, said: Said): Promise<Left> {
  const needles: Needle[] = [
    ...said.canaries,
    ...said.responses.map((id) => ({ name: id, bytes: Buffer.from(`data: {"id":"${id}`) })),
    ...said.answers.map((text) => ({ name: 'answer', bytes: Buffer.from(text) })),
  ];
  const runs = await tokenRuns(said.canaries.slice(0, 40));
  const memory: Record<string, number> = {};
  const tokens: Record<string, number> = {};
  const seen: string[] = [];
  let bytes = 0;
  for (const [role, pid] of Object.entries(server.pids())) {
    const scan = scanProcess(pid, needles);
    memory[role] = scan.total;
    bytes += scan.bytes;
    seen.push(
      ...scan.hits
        .slice(0, 5)
        .map((hit) => `${role}: ${hit.form} in ${hit.region} at ${hit.address.toString(16)}: ${hit.context}`),
    );
    tokens[role] = countRuns(pid, runs);
  }
  const plain = [...said.canaries, ...said.responses].map((text) => Buffer.from(text));
  const files = [server.state, '/dev/shm'].flatMap(filesBelow);
  let disk = 0;
  for (const file of files) {
    let content: Buffer;
    try {
      content = readFileSync(file);
    } catch {
      continue; // somebody else's, gone meanwhile
    }
    for (const text of plain) if (content.includes(text)) disk += 1;
  }
  const output = Buffer.from(server.output());
  return {
    memory,
    tokens,
    megabytes: bytes / 1e6,
    disk,
    files: files.length,
    log: plain.filter((text) => output.includes(text)).length,
    seen,
  };
}

/** One line for a report. */
export function describeLeft(left: Left): string {
  const list = (counts: Readonly<Record<string, number>>) =>
    Object.entries(counts)
      .map(([role, count]) => `${role} ${count}`)
      .join(', ');
  return `memory (${left.megabytes.toFixed(0)} MB): ${list(left.memory)}; token runs: ${list(left.tokens)}; ${left.files} files: ${left.disk}; log: ${left.log}`;
}

/** The sum of everything found. */
export function sumOf(left: Left): number {
  const sum = (counts: Readonly<Record<string, number>>) => Object.values(counts).reduce((a, b) => a + b, 0);
  return sum(left.memory) + sum(left.tokens) + left.disk + left.log;
}

/** One turn, its canary in every field that carries text. */
export async function turn(server: Server, canary: string): Promise<void> {
  const answer = await call(server, '/v1/chat/completions', {
    model: 'guide',
    max_tokens: 16,
    messages: [
      { role: 'system', content: `Remember ${canary}` },
      { role: 'user', content: `What does layer 5 do? ${canary}` },
    ],
    stop: [`${canary}!`],
    user: canary,
  });
  assert.equal(answer.status, 200);
  await answer.text();
}

/** Another request takes the place of the last one in the buffers that all share. */
export async function settle(server: Server): Promise<void> {
  await call(server, '/v1/models').then(async (response) => await response.text());
  await sleep(500);
}
