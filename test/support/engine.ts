/**
 * A real engine process for tests: behind the jail stage, on socketpairs of ours instead of a supervisor's and a
 * gateway's.
 * @module
 */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { closeSync, openSync, statSync } from 'node:fs';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { nodeFlags } from '../../src/policy/node-flags.ts';
import { encodeLoadList } from '../../src/layers/3-dependencies/load-list.ts';
import { makeWorkingMemory } from '../../src/layers/5-memory/memory-scrub.ts';
import { sealedBytes } from '../../src/linux/memory/memfd.ts';
import { closeDescriptor, makeSocketPair } from '../../src/linux/sockets/socket.ts';
import type { Stream } from '../../src/linux/sockets/inherited-stream.ts';
import { openStream } from '../../src/linux/sockets/inherited-stream.ts';
import { Channel } from '../../src/wire/channel.ts';
import { maxPayloadBytes } from '../../src/wire/frame.ts';
import type { EngineConfig, EngineFacts } from '../../src/wire/control-payloads.ts';
import type { Infer } from '../../src/wire/schema.ts';
import type { EngineRoute } from '../../src/wire/messages.ts';
import { controlSchemas, encodeJson, parseJson } from '../../src/wire/control-payloads.ts';
import { encodeCredit, encodeRequestOpen, mediaTypes, parseResponseHead } from '../../src/wire/data-payloads.ts';
import { controlMessages, dataMessages, engineRoutes } from '../../src/wire/messages.ts';
import { listedFiles, nativeFds, natives, sealedNode } from './sealed.ts';
import { builtProgram } from './stripped.ts';

const root = join(import.meta.dirname, '..', '..');
const librariesOf = (home: string) =>
  join(home, 'node_modules', '@node-llama-cpp', `linux-${process.arch}`, 'bins', `linux-${process.arch}`);
export const libraryDirectory = librariesOf(root);
/** Nobody's number in the range that ordinary systems leave unused. */
const testUid = 64_123;

/** Answers must be UTF-8; anything else fails the test. */
const strict = new TextDecoder('utf-8', { fatal: true });

/** An answer as it came. */
export type Answer = {
  readonly status: number;
  readonly stream: boolean;
  readonly text: string;
  readonly aborted: boolean;
  readonly session?: string | undefined;
};

/** One request under way. */
export type Exchange = {
  readonly id: number;
  /** The whole answer. */
  readonly answer: Promise<Answer>;
  /** Settles with the first byte of the body. */
  readonly first: Promise<void>;
  /** Bytes of the body so far. */
  received(): number;
  abort(): void;
  /** Gives credit by hand, where it is not given as bytes come. */
  grant(bytes: number): void;
};

export type Ask = {
  readonly route?: EngineRoute;
  readonly body?: unknown;
  readonly raw?: Buffer;
  readonly parameter?: string;
  readonly manualCredit?: boolean;
  readonly session?: string;
  readonly principal?: Buffer;
  readonly operator?: boolean;
};

export type EngineProcess = {
  readonly pid: number;
  readonly facts: EngineFacts;
  readonly ended: Promise<{ code: number | null; signal: string | null }>;
  ask(what: Ask): Exchange;
  /** A chat completion as parsed JSON. */
  chat(body: Record<string, unknown>): Promise<{ status: number; json: ChatAnswer }>;
  /** A streamed chat completion: its text and its chunks. */
  stream(body: Record<string, unknown>): Promise<{ text: string; chunks: ChatChunk[] }>;
  /** Sends a frame that the gateway would not. */
  send(type: number, payload: Buffer, stream: number): void;
  stop(): Promise<{ code: number | null; signal: string | null }>;
};

export type ChatAnswer = {
  id: string;
  choices: { message: { content: string }; finish_reason: string }[];
  usage: {
    prompt_tokens: number;
    completion_tokens: number;
    total_tokens: number;
    prompt_tokens_details?: { cached_tokens: number };
  };
  error?: { code: string; message: string; param: string | null; type: string };
};
export type ChatChunk = {
  choices: { delta: { content?: string }; finish_reason: string | null }[];
  usage?: { completion_tokens: number } | null;
};

/** The payloads of a stream's events, the end mark left out. */
export function events(text: string): ChatChunk[] {
  return text
    .split('\n\n')
    .filter((event) => event.startsWith('data: ') && event !== 'data: [DONE]')
    .map((event) => JSON.parse(event.slice(6)) as ChatChunk);
}

/** `repository`: a copy of the program to run the engine from; the default is this one. */
type Failure = Infer<typeof controlSchemas.failed>;

export type Start = { readonly model: string; readonly config?: Partial<EngineConfig>; readonly repository?: string };

/** What a start came to: a serving engine, or the failure that it reported. */
export async function tryEngine(start: Start): Promise<EngineProcess | Failure> {
  const home = start.repository ?? root;
  const built = start.repository === undefined ? builtProgram() : join(home, 'src');
  const program = (name: string): string => join(built, start.repository === undefined ? `${name}.js` : `${name}.ts`);
  const control = makeSocketPair();
  const data = makeSocketPair();
  const model = openSync(start.model, 'r');
  const working = makeWorkingMemory(totalmem());
  const asRoot = process.getuid?.() === 0;
  const input = {
    readable: [built, join(home, 'package.json'), join(home, 'node_modules'), start.model],
    accepted: [],
    ...(asRoot ? { uid: testUid, gid: testUid } : {}),
  };
  const list = sealedBytes('kwyre-loads', encodeLoadList({ ...listedFiles(), root: home }, natives));
  const child: ChildProcess = spawn(
    sealedNode(),
    [
      ...nodeFlags,
      program('jail/entry'),
      program('jail/main'),
      'engine',
      program('engine/main'),
      JSON.stringify(input),
    ],
    { env: {}, cwd: '/', stdio: ['ignore', 'pipe', 'pipe', control[1], data[1], model, working, list, ...nativeFds()] },
  );
  for (const fd of [control[1], data[1]]) closeDescriptor(fd);
  const { size } = statSync(start.model);
  closeSync(model);
  closeSync(working);
  closeSync(list);
  let words = '';
  for (const pipe of [child.stdout, child.stderr]) pipe?.on('data', (chunk: Buffer) => (words += chunk.toString()));
  const ended = new Promise<{ code: number | null; signal: string | null }>((resolve) =>
    child.once('exit', (code, signal) => {
      resolve({ code, signal });
    }),
  );

  const ready = Promise.withResolvers<EngineFacts | Failure>();
  const controlStream: Stream = openStream(
    control[0],
    (chunk) => {
      orders.receive(chunk);
    },
    () => undefined,
  );
  const orders = new Channel(
    controlStream,
    {
      [controlMessages.enforced]: { permit: 'once', handle: () => undefined },
      [controlMessages.ready]: {
        permit: 'once',
        handle: (frame) => {
          ready.resolve(parseJson(controlSchemas.readyEngine, frame.payload));
        },
      },
      [controlMessages.failed]: {
        permit: 'once',
        handle: (frame) => {
          ready.resolve(parseJson(controlSchemas.failed, frame.payload));
        },
      },
    },
    (error) => {
      ready.reject(error);
    },
  );
  const config: EngineConfig = {
    modelName: 'test',
    modelBytes: size,
    modelFiles: 1,
    createdSeconds: 1,
    contextTokens: 0,
    parallel: 4,
    threads: 1,
    turnSeconds: 60,
    kv: 'sealed',
    idleSeconds: 3600,
    continueSeconds: 0,
    sealedBytes: 0,
    ...start.config,
  };
  orders.send(controlMessages.configure, encodeJson(config));
  void ended.then(({ code, signal }) => {
    ready.reject(new Error(`the engine ended while starting (${signal ?? code ?? ''}): ${words}`));
  });
  const answer = await ready.promise;
  if ('code' in answer) {
    controlStream.end();
    closeDescriptor(data[0]);
    await ended;
    return answer;
  }

  type Live = {
    status: number;
    stream: boolean;
    session?: string | undefined;
    body: Buffer[];
    bytes: number;
    done: PromiseWithResolvers<Answer>;
    first: PromiseWithResolvers<void>;
    manual: boolean;
  };
  const live = new Map<number, Live>();
  const finish = (id: number, aborted: boolean) => {
    const entry = live.get(id);
    live.delete(id);
    entry?.done.resolve({
      status: entry.status,
      stream: entry.stream,
      text: strict.decode(Buffer.concat(entry.body)),
      aborted,
      session: entry.session,
    });
  };
  const dataStream: Stream = openStream(
    data[0],
    (chunk) => {
      edge.receive(chunk);
    },
    () => {
      for (const id of [...live.keys()]) finish(id, true);
    },
  );
  const edge = new Channel(
    dataStream,
    {
      [dataMessages.responseHead]: {
        permit: 'always',
        handle: (frame) => {
          const head = parseResponseHead(frame.payload);
          const entry = live.get(frame.stream);
          if (entry === undefined) return;
          entry.status = head.status;
          entry.session = head.session;
          entry.stream = head.media === mediaTypes.eventStream;
        },
      },
      [dataMessages.responseBody]: {
        permit: 'always',
        handle: (frame) => {
          const entry = live.get(frame.stream);
          if (entry === undefined) return;
          entry.body.push(Buffer.from(frame.payload));
          entry.bytes += frame.payload.length;
          entry.first.resolve();
          if (!entry.manual) edge.send(dataMessages.responseCredit, encodeCredit(frame.payload.length), frame.stream);
        },
      },
      [dataMessages.responseEnd]: {
        permit: 'always',
        handle: (frame) => {
          finish(frame.stream, false);
        },
      },
      [dataMessages.responseAbort]: {
        permit: 'always',
        handle: (frame) => {
          finish(frame.stream, true);
        },
      },
    },
    (error) => {
      throw error;
    },
  );

  let last = 0;
  const ask = ({
    route = engineRoutes.chatCompletions,
    body,
    raw,
    parameter = '',
    manualCredit = false,
    session = '',
    principal = Buffer.alloc(16),
    operator = false,
  }: Ask): Exchange => {
    const id = (last += 1);
    const bytes = raw ?? (body === undefined ? Buffer.alloc(0) : Buffer.from(JSON.stringify(body)));
    const entry: Live = {
      status: 0,
      stream: false,
      body: [],
      bytes: 0,
      done: Promise.withResolvers(),
      first: Promise.withResolvers(),
      manual: manualCredit,
    };
    live.set(id, entry);
    edge.send(
      dataMessages.requestOpen,
      encodeRequestOpen({ route, principal, bodyLength: bytes.length, parameter, session, operator }),
      id,
    );
    for (let at = 0; at < bytes.length; at += maxPayloadBytes)
      edge.send(dataMessages.requestBody, bytes.subarray(at, at + maxPayloadBytes), id);
    edge.send(dataMessages.requestEnd, undefined, id);
    return {
      id,
      answer: entry.done.promise,
      first: entry.first.promise,
      received: () => entry.bytes,
      abort() {
        edge.send(dataMessages.requestAbort, undefined, id);
        finish(id, true);
      },
      grant(count) {
        edge.send(dataMessages.responseCredit, encodeCredit(count), id);
      },
    };
  };
  const complete = (body: Record<string, unknown>) => ({ model: 'test', ...body });
  return {
    pid: child.pid ?? 0,
    facts: answer,
    ended,
    ask,
    async chat(body) {
      const { status, text } = await ask({ body: complete(body) }).answer;
      return { status, json: JSON.parse(text) as ChatAnswer };
    },
    async stream(body) {
      const { text } = await ask({ body: complete({ ...body, stream: true }) }).answer;
      const chunks = events(text);
      return { text: chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join(''), chunks };
    },
    send(type, payload, stream) {
      edge.send(type, payload, stream);
    },
    async stop() {
      orders.send(controlMessages.stop);
      const ending = await ended;
      controlStream.end();
      dataStream.end();
      return ending;
    },
  };
}

/** Starts an engine and waits until it serves. */
export async function startEngine(start: Start): Promise<EngineProcess> {
  const engine = await tryEngine(start);
  if (!('pid' in engine)) throw new Error(`${engine.code}: ${engine.message}`);
  return engine;
}

/** Serves a model while `use` runs; the engine must end in order then. */
export async function served<T>(start: Start, use: (engine: EngineProcess) => Promise<T>): Promise<T> {
  const engine = await startEngine(start);
  try {
    return await use(engine);
  } finally {
    assert.deepEqual(await engine.stop(), { code: 0, signal: null });
  }
}
