/**
 * A chat of ten turns by a client that sends its whole history with every request, beside llama-server with its prompt
 * cache: time to first token of each turn, and how much of it was computed before.
 *
 * Run: `node test/bench/turns.ts LLAMA_SERVER [ROUNDS] [MODEL.gguf]`. Without a model one of 507 million random
 *      parameters is
 * written and removed again; its answers are held to letters, so that both sides read them again as they were made.
 * @module
 */
import { request } from 'node:http';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { benchShape, writeModel } from '../support/gguf.ts';
import type { Started } from './contestants.ts';
import { settle, startKwyre, startLlamaServer } from './contestants.ts';
import { median, promptText } from './run.ts';

const [yardstick = '', wanted = '3', given] = process.argv.slice(2);
const turns = 10;
const scratch = mkdtempSync(join(tmpdir(), 'kwyre-bench-'));
process.once('exit', () => {
  rmSync(scratch, { recursive: true, force: true });
});
chmodSync(scratch, 0o755);
const model = given ?? join(scratch, 'large.gguf');
if (given === undefined) writeModel(model, benchShape);
/** In the written model's vocabulary a byte is its own token: a to z. */
const letters =
  given === undefined ? Object.fromEntries(Array.from({ length: 26 }, (_, index) => [String(97 + index), 100])) : {};

type Message = { readonly role: 'user' | 'assistant'; readonly content: string };
type Turn = {
  readonly firstMs: number;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly content: string;
};

/** One streamed request with the whole history, as any client sends it. */
async function ask(server: Started, messages: readonly Message[]): Promise<Turn> {
  const body = Buffer.from(
    JSON.stringify({
      model: 'default',
      messages,
      max_tokens: 32,
      temperature: 0,
      stream: true,
      stream_options: { include_usage: true },
      logit_bias: letters,
    }),
  );
  const { promise, resolve, reject } = Promise.withResolvers<Turn>();
  const began = performance.now();
  const asked = request(
    `${server.url}/v1/chat/completions`,
    {
      method: 'POST',
      agent: false,
      headers: {
        'content-type': 'application/json',
        'content-length': body.length,
        authorization: `Bearer ${server.token}`,
      },
    },
    (response) => {
      let firstMs = 0;
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
        if (firstMs === 0 && /"content":"[^"]/.test(chunk)) firstMs = performance.now() - began;
      });
      response.on('end', () => {
        if (response.statusCode !== 200) {
          reject(new Error(text.slice(0, 300)));
          return;
        }
        const events = text
          .split('\n\n')
          .filter((line) => line.startsWith('data: {'))
          .map(
            (line) =>
              JSON.parse(line.slice(6)) as {
                choices: { delta: { content?: string | null } }[];
                usage?: { prompt_tokens: number; prompt_tokens_details?: { cached_tokens: number } } | null;
              },
          );
        const usage = events.findLast((event) => event.usage !== undefined && event.usage !== null)?.usage;
        resolve({
          firstMs,
          promptTokens: usage?.prompt_tokens ?? 0,
          cachedTokens: usage?.prompt_tokens_details?.cached_tokens ?? 0,
          content: events.map((event) => event.choices[0]?.delta.content ?? '').join(''),
        });
      });
    },
  );
  asked.on('error', reject);
  asked.end(body);
  return await promise;
}

const setting = { model, contextTokens: 4096, parallel: 4, threads: 2, remembers: true };
const contestants = [await startKwyre(setting), await startLlamaServer(yardstick, setting)];
const found: Record<string, Turn[][]> = {};
try {
  // The first round warms up and is not counted; each round is a conversation that neither has seen.
  for (let round = 0; round <= Number(wanted); round += 1) {
    for (const server of contestants) {
      const messages: Message[] = [{ role: 'user', content: promptText(1500, 7000 + round) }];
      const list: Turn[] = [];
      for (let turn = 0; turn < turns; turn += 1) {
        const answer = await ask(server, messages);
        list.push(answer);
        messages.push(
          { role: 'assistant', content: answer.content },
          { role: 'user', content: promptText(100, 9000 + 100 * round + turn) },
        );
        await settle(server);
      }
      if (round > 0) (found[server.name] ??= []).push(list);
    }
  }
} finally {
  for (const server of contestants) await server.stop();
}
for (const [name, rounds] of Object.entries(found)) {
  for (const turn of [0, 1, turns - 1]) {
    const times = rounds.map((list) => list[turn]?.firstMs ?? Number.NaN);
    const last = rounds.at(-1)?.[turn];
    console.log(
      `${name}, turn ${turn + 1}: first token after ${median(times).toFixed(0)} ms (${Math.min(...times).toFixed(0)}-${Math.max(...times).toFixed(0)}), ${last?.cachedTokens ?? 0} of ${last?.promptTokens ?? 0} tokens were there`,
    );
  }
}
const tenth = (name: string) => median((found[name] ?? []).map((list) => list[turns - 1]?.firstMs ?? Number.NaN));
console.log(`turn ${turns}, kwyre / llama-server: ${(tenth('kwyre') / tenth('llama-server')).toFixed(2)}`);
