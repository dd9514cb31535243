/**
 * A real gateway process for tests, with a scripted engine on its data edge and this test as its supervisor.
 * @module
 */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { closeSync } from 'node:fs';
import { Socket, connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { bindLoopback } from '../../src/layers/1-loopback/listener.ts';
import { bindUnix } from '../../src/layers/1-loopback/unix-listener.ts';
import { makeSocketPair } from '../../src/linux/sockets/socket.ts';
import { openStream } from '../../src/linux/sockets/inherited-stream.ts';
import type { Stream } from '../../src/linux/sockets/inherited-stream.ts';
import { Channel } from '../../src/wire/channel.ts';
import { nodeFlags, roleFlags } from '../../src/policy/node-flags.ts';
import { roleEnvironment } from '../../src/policy/roles.ts';
import { encodeJson } from '../../src/wire/control-payloads.ts';
import { encodeResponseHead, mediaTypes, parseCredit, parseRequestOpen } from '../../src/wire/data-payloads.ts';
import { controlMessages, dataMessages } from '../../src/wire/messages.ts';
import type { RequestOpen } from '../../src/wire/data-payloads.ts';
import { stripped, strippedRoot } from './stripped.ts';

export const root = join(import.meta.dirname, '..', '..');

/** One request as the scripted engine sees it. */
export type Turn = {
  readonly id: number;
  readonly open: RequestOpen;
  /** The body as it came; wiped by the script if it cares. */
  readonly body: Buffer;
  aborted: boolean;
  credit: number;
  head(status?: number, media?: number, retryAfterSeconds?: number): void;
  send(bytes: Uint8Array | string): void;
  end(): void;
  abort(): void;
  /** A whole JSON answer. */
  json(value: unknown, status?: number): void;
};

export type Script = (turn: Turn) => void;

/** Answers with facts about what arrived. */
export const echoFacts: Script = (turn) => {
  turn.json({
    route: turn.open.route,
    parameter: turn.open.parameter,
    length: turn.body.length,
    principal: turn.open.principal.toString('hex'),
  });
};

export type Options = {
  readonly script?: Script;
  /** Called when a request opens, before its body. */
  readonly onOpen?: (turn: Turn) => void;
  readonly onEvent?: (value: unknown) => void;
  readonly unixPath?: string;
  readonly bodyBytes?: number;
  /** Without jail and seal: what holds then holds without layer 2. */
  readonly bare?: boolean;
  readonly listenerFd?: number;
  readonly port?: number;
  /** What the supervisor answers for `/kwyre/status`. */
  readonly status?: unknown;
  /** Keeps bodies (default); false overwrites them as they come. */
  readonly keepBodies?: boolean;
};

export type Gateway = {
  readonly url: string;
  readonly port: number;
  readonly token: string;
  readonly pid: number;
  readonly process: ChildProcess;
  readonly turns: readonly Turn[];
  readonly events: readonly unknown[];
  readonly control: Channel;
  readonly engine: Channel;
  /** Closes the engine's end of the data edge, as its death does. */
  killEngine(): void;
  /** The engine reads nothing for a while. */
  pauseEngine(): void;
  resumeEngine(): void;
  /** Closes the supervisor's end of the control edge. */
  dropControl(): void;
  /** Replaces the tokens; `person` is the one of the person who runs the server. */
  setTokens(tokens: readonly string[], person?: string): void;
  readonly drained: Promise<undefined>;
  readonly ended: Promise<{ code: number | null; signal: string | null }>;
  readonly stderr: () => string;
  stop(): Promise<void>;
};

const bareGateway = [...roleFlags, stripped('test/support/gateway-entry.ts')];

/** The real thing, as the supervisor starts it: jail stage, role, seal. */
function jailedGateway(): string[] {
  const identity = process.getuid?.() === 0 ? { uid: testUid, gid: testUid } : {};
  const input = {
    readable: [join(root, 'package.json'), strippedRoot(), join(root, 'node_modules'), join(root, 'page')],
    accepted: [],
    ...identity,
  };
  return [
    ...nodeFlags,
    stripped('src/jail/main.ts'),
    'gateway',
    stripped('src/gateway/main.ts'),
    JSON.stringify(input),
  ];
}

/** No account has it. */
const testUid = 61_234;

export const digestOf = (token: string) => createHash('sha256').update(token).digest('hex');
export const principalOf = (token: string) => createHash('sha256').update(`p${token}`).digest('hex').slice(0, 32);
const entriesOf = (tokens: readonly string[], person?: string) =>
  tokens.map((token) => ({ digest: digestOf(token), principal: principalOf(token), operator: token === person }));

/** Starts a gateway and waits until it is ready. */
export async function startGateway(options: Options = {}): Promise<Gateway> {
  const token = `kw-${randomBytes(32).toString('base64url')}`;
  const listener = options.listenerFd === undefined ? bindLoopback(0) : { fd: options.listenerFd, port: options.port! };
  const unix = options.unixPath === undefined ? undefined : bindUnix(options.unixPath);
  const control = makeSocketPair();
  const data = makeSocketPair();
  const command = options.bare === true ? bareGateway : jailedGateway();
  const child = spawn(process.execPath, command, {
    env: { PATH: process.env['PATH'], ...roleEnvironment },
    stdio: ['ignore', 'pipe', 'pipe', control[1], data[1], listener.fd, ...(unix === undefined ? [] : [unix.fd])],
  });
  for (const fd of [control[1], data[1], listener.fd, ...(unix === undefined ? [] : [unix.fd])]) closeSync(fd);
  let stderr = '';
  for (const pipe of [child.stdout, child.stderr]) pipe!.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const ended = new Promise<{ code: number | null; signal: string | null }>((resolve) =>
    child.once('close', (code, signal) => {
      unix?.remove();
      resolve({ code, signal });
    }),
  );

  const turns: Turn[] = [];
  const live = new Map<number, { turn: Turn; filled: number }>();
  const events: unknown[] = [];
  const ready = Promise.withResolvers<undefined>();
  const drained = Promise.withResolvers<undefined>();
  const onBreach = (error: Error) => ready.reject(error);
  const dataSocket = new Socket({ fd: data[0], readable: true, writable: true });
  dataSocket.on('data', (chunk: Buffer) => engine.receive(chunk));
  dataSocket.on('error', () => dataSocket.destroy());
  const dataStream = { write: (bytes: Buffer) => void dataSocket.write(bytes), end: () => dataSocket.destroy() };
  const engine = new Channel(
    dataStream,
    {
      [dataMessages.requestOpen]: {
        permit: 'always',
        handle(frame) {
          const id = frame.stream;
          const open = parseRequestOpen(frame.payload);
          const turn: Turn = {
            id,
            open,
            body: options.keepBodies === false ? Buffer.alloc(0) : Buffer.alloc(open.bodyLength),
            aborted: false,
            credit: 0,
            head: (status = 200, media = mediaTypes.json, retryAfterSeconds = 0) =>
              engine.send(
                dataMessages.responseHead,
                encodeResponseHead({ status, media: media as 1, retryAfterSeconds }),
                id,
              ),
            send(bytes) {
              const source = typeof bytes === 'string' ? Buffer.from(bytes) : bytes;
              for (let at = 0; at < source.length; at += 65536)
                engine.send(dataMessages.responseBody, source.subarray(at, at + 65536), id);
            },
            end: () => engine.send(dataMessages.responseEnd, undefined, id),
            abort: () => engine.send(dataMessages.responseAbort, undefined, id),
            json(value, status = 200) {
              turn.head(status);
              turn.send(JSON.stringify(value));
              turn.end();
            },
          };
          turns.push(turn);
          live.set(id, { turn, filled: 0 });
          options.onOpen?.(turn);
        },
      },
      [dataMessages.requestBody]: {
        permit: 'always',
        handle(frame) {
          const entry = live.get(frame.stream);
          if (entry === undefined) return;
          if (options.keepBodies !== false) entry.turn.body.set(frame.payload, entry.filled);
          entry.filled += frame.payload.length;
        },
      },
      [dataMessages.requestEnd]: {
        permit: 'always',
        handle(frame) {
          const entry = live.get(frame.stream);
          if (entry !== undefined) (options.script ?? echoFacts)(entry.turn);
        },
      },
      [dataMessages.requestAbort]: {
        permit: 'always',
        handle(frame) {
          const entry = live.get(frame.stream);
          if (entry !== undefined) entry.turn.aborted = true;
        },
      },
      [dataMessages.responseCredit]: {
        permit: 'always',
        handle(frame) {
          const entry = live.get(frame.stream);
          if (entry !== undefined) entry.turn.credit += parseCredit(frame.payload);
        },
      },
    },
    onBreach,
  );
  const controlStream: Stream = openStream(
    control[0],
    (chunk) => supervisor.receive(chunk),
    () => undefined,
  );
  const supervisor = new Channel(
    controlStream,
    {
      [controlMessages.enforced]: { permit: 'once', handle: () => undefined },
      [controlMessages.ready]: { permit: 'once', handle: () => ready.resolve(undefined) },
      [controlMessages.failed]: {
        permit: 'once',
        handle: (frame) => ready.reject(new Error(`gateway failed: ${frame.payload.toString()}`)),
      },
      [controlMessages.pong]: { permit: 'always', handle: () => undefined },
      [controlMessages.event]: {
        permit: 'always',
        handle(frame) {
          events.push(JSON.parse(frame.payload.toString()));
        },
      },
      [controlMessages.statusRequest]: {
        permit: 'always',
        handle: (frame) =>
          supervisor.send(
            controlMessages.statusAnswer,
            encodeJson(options.status ?? { version: 'test', layers: [] }),
            frame.stream,
          ),
      },
      [controlMessages.drained]: { permit: 'once', handle: () => drained.resolve(undefined) },
    },
    onBreach,
  );
  supervisor.send(
    controlMessages.configure,
    encodeJson({
      port: listener.port,
      tokens: entriesOf([token]),
      bodyBytes: options.bodyBytes ?? 32 << 20,
      pageDirectory: join(root, 'page'),
      open: true,
      ready: true,
    }),
  );
  void ended.then(({ code, signal }) =>
    ready.reject(new Error(`the gateway ended while starting (${code}, ${signal}): ${stderr}`)),
  );
  drained.promise.catch(() => undefined);
  await ready.promise;
  return {
    url: `http://127.0.0.1:${listener.port}`,
    port: listener.port,
    token,
    pid: child.pid!,
    process: child,
    turns,
    events,
    control: supervisor,
    engine,
    killEngine: () => dataStream.end(),
    pauseEngine: () => void dataSocket.pause(),
    resumeEngine: () => void dataSocket.resume(),
    dropControl: () => controlStream.end(),
    setTokens: (tokens, person) =>
      supervisor.send(controlMessages.tokensSet, encodeJson({ tokens: entriesOf(tokens, person) })),
    drained: drained.promise,
    ended,
    stderr: () => stderr,
    async stop() {
      child.kill('SIGKILL');
      await ended;
      dataStream.end();
      controlStream.end();
    },
  };
}

/** An answer off a raw connection. */
export type RawAnswer = {
  readonly text: string;
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: string;
  readonly reset: boolean;
};

/** Sends bytes as they are and reads one answer, or (`more`) until the connection ends or is quiet. */
export async function rawRequest(
  to: number | string,
  bytes: string | Buffer,
  { quietMs = 300, host = '127.0.0.1', more = false } = {},
): Promise<RawAnswer> {
  const socket = typeof to === 'string' ? connect(to) : connect(to, host);
  let text = '';
  let reset = false;
  let timer: NodeJS.Timeout | undefined;
  await new Promise<void>((resolve) => {
    const done = () => {
      clearTimeout(timer);
      socket.destroy();
      resolve();
    };
    const wait = () => {
      clearTimeout(timer);
      timer = setTimeout(done, quietMs);
    };
    socket.on('connect', () => {
      socket.write(bytes);
      timer = setTimeout(done, 5000);
    });
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      const end = text.indexOf('\r\n\r\n');
      const declared = end < 0 ? null : /\r\nContent-Length: (\d+)/i.exec(text.slice(0, end));
      if (
        !more &&
        ((declared !== null && text.length >= end + 4 + Number(declared[1])) || text.endsWith('\r\n0\r\n\r\n'))
      )
        done();
      else wait();
    });
    socket.on('end', done);
    socket.on('error', () => {
      reset = true;
      done();
    });
  });
  const [head = '', ...rest] = text.split('\r\n\r\n');
  const lines = head.split('\r\n');
  const headers: Record<string, string> = {};
  for (const line of lines.slice(1))
    headers[line.slice(0, line.indexOf(':')).toLowerCase()] = line.slice(line.indexOf(':') + 1).trim();
  return { text, status: Number(lines[0]?.split(' ')[1] ?? 0), headers, body: rest.join('\r\n\r\n'), reset };
}

/** A request as text: `lines` are headers, the body gets its length by itself. */
export function requestText(
  gateway: Pick<Gateway, 'port' | 'token'>,
  {
    method = 'GET',
    target = '/v1/models',
    host = `127.0.0.1:${gateway.port}` as string | null,
    token = true,
    headers = [] as readonly string[],
    body = undefined as string | undefined,
    version = '1.1',
  } = {},
): string {
  return [
    `${method} ${target} HTTP/${version}`,
    ...(host === null ? [] : [`Host: ${host}`]),
    ...(token ? [`Authorization: Bearer ${gateway.token}`] : []),
    ...(body === undefined ? [] : ['Content-Type: application/json', `Content-Length: ${Buffer.byteLength(body)}`]),
    ...headers,
    '',
    body ?? '',
  ].join('\r\n');
}

/** The code of an error answer. */
export function errorCode(answer: Pick<RawAnswer, 'body'>): string | undefined {
  return (JSON.parse(answer.body) as { error?: { code?: string } }).error?.code;
}

export { sleep };
