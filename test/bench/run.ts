/**
 * What is measured: one order to a contestant, its timings, and the numbers made of them.
 * @module
 */
import { request } from 'node:http';

/** Streams that begin together. */
export type Order = {
  readonly promptBytes: number;
  readonly tokens: number;
  readonly streams: number;
  readonly seed: number;
  readonly banned: readonly number[];
};

/** One stream on one clock, in milliseconds. */
export type Timing = {
  readonly began: number;
  readonly first: number;
  readonly last: number;
  readonly promptTokens: number;
  readonly tokens: number;
};

/** Who is measured. */
export type Contestant = {
  readonly name: string;
  /** Its processes by name. */
  readonly pids: Readonly<Record<string, number>>;
  run(order: Order): Promise<readonly Timing[]>;
  stop(): Promise<void>;
};

const words = [
  'layer',
  'the',
  'memory',
  'of',
  'server',
  'model',
  'and',
  'port',
  'key',
  'a',
  'process',
  'token',
  'what',
  'is',
  'how',
  'wall',
];

/** Text of about so many bytes that no run has seen before: nothing of it is in a cache. */
export function promptText(bytes: number, seed: number): string {
  let state = (seed * 2654435761) >>> 0;
  let text = `${seed}:`;
  while (text.length < bytes) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    text += ` ${words[state >>> 28] ?? ''}`;
  }
  return text.slice(0, Math.max(bytes, 8));
}

/** A streamed chat completion over HTTP, timed at the client. */
export async function streamHttp(url: string, token: string, body: object): Promise<Timing> {
  const bytes = Buffer.from(JSON.stringify(body));
  const { promise, resolve, reject } = Promise.withResolvers<Timing>();
  const began = performance.now();
  const asked = request(
    `${url}/v1/chat/completions`,
    {
      method: 'POST',
      agent: false,
      headers: { 'content-type': 'application/json', 'content-length': bytes.length, authorization: `Bearer ${token}` },
    },
    (response) => {
      let first = 0;
      let tail = '';
      response.setEncoding('latin1');
      response.on('data', (chunk: string) => {
        // The first chunk with words; the one with the role alone comes before the prompt is read in some servers.
        if (first === 0 && /"content":"[^"]/.test(chunk)) first = performance.now();
        tail = (tail + chunk).slice(-4096);
      });
      response.on('end', () => {
        const last = performance.now();
        const prompt = Number(/"prompt_tokens":(\d+)/.exec(tail)?.[1]);
        const completion = Number(/"completion_tokens":(\d+)/.exec(tail)?.[1]);
        if (response.statusCode !== 200 || !(completion > 0))
          reject(new Error(`${response.statusCode ?? 0}: ${tail.slice(0, 300)}`));
        else resolve({ began, first: first === 0 ? last : first, last, promptTokens: prompt, tokens: completion });
      });
    },
  );
  asked.on('error', reject);
  asked.end(bytes);
  return await promise;
}

/** The body that every HTTP contestant gets. */
export function chatBody(order: Order, index: number): object {
  return {
    model: 'default',
    messages: [{ role: 'user', content: promptText(order.promptBytes, index) }],
    max_tokens: order.tokens,
    temperature: 0,
    seed: 1,
    stream: true,
    stream_options: { include_usage: true },
    cache_prompt: false,
    logit_bias: Object.fromEntries(order.banned.map((token) => [String(token), -100])),
  };
}

/** The numbers of one run. */
export type Figures = {
  readonly promptPerSecond: number;
  readonly generatedPerSecond: number;
  readonly firstTokenMs: number;
  readonly totalPerSecond: number;
  readonly tokens: number;
};

/**
 * Prompt speed and time to first token of the first stream, generation speed of it, and all tokens over the whole time.
 */
export function figuresOf(timings: readonly Timing[]): Figures {
  const [one] = timings;
  if (one === undefined) throw new Error('no stream');
  const tokens = timings.reduce((sum, timing) => sum + timing.tokens, 0);
  const wall = Math.max(...timings.map((timing) => timing.last)) - Math.min(...timings.map((timing) => timing.began));
  return {
    promptPerSecond: (1000 * one.promptTokens) / (one.first - one.began),
    generatedPerSecond: one.tokens > 1 ? (1000 * (one.tokens - 1)) / (one.last - one.first) : 0,
    firstTokenMs: one.first - one.began,
    totalPerSecond: (1000 * tokens) / wall,
    tokens,
  };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}
