/**
 * The flags of `kwyre serve` as one frozen value. There is no flag, variable or file for another address than
 * 127.0.0.1.
 * @module
 */
import { parseArgs } from 'node:util';
import { KwyreError } from './errors.ts';

/** What one server was asked to do. */
export type Config = {
  /** TCP port on 127.0.0.1; 0 lets the kernel choose one. */
  readonly port: number;
  /** Path of an additional Unix socket, or `undefined` for none. */
  readonly socketPath: string | undefined;
  /** A model's name or a path of a GGUF file; `undefined` for the embedded guide. */
  readonly model: string | undefined;
  /** Folder of the token and the event log; `undefined` for the default. */
  readonly state: string | undefined;
  /** Context per conversation in tokens; 0 for the model's own, within reason. */
  readonly contextTokens: number;
  /** Conversations decoded together. */
  readonly parallel: number;
  /** Threads of the engine; 0 chooses by cores and model size. */
  readonly threads: number;
  /** What becomes of the model's memory of a conversation between its turns. */
  readonly kv: 'sealed' | 'drop' | 'keep';
  /** Seconds after which a conversation that nobody uses is wiped; can only be shortened. */
  readonly idleSeconds: number;
  /** The same for clients that send their whole history again; 0 wipes a request when it ends. */
  readonly continueSeconds: number;
  /** Where the weights are kept while they are served: sealed memory, the held file, or what fits. */
  readonly weights: 'memfd' | 'file' | 'auto';
  /** Milliseconds between two scans of the watchdog; can only be shortened. */
  readonly scanMs: number;
  /** Whether the violation that ended the server in this boot was looked into. */
  readonly acknowledgeViolation: boolean;
  /** Ids of tools that may run beside the server. */
  readonly acknowledgedTools: readonly string[];
  /** Features of layer 2 that the operator gave up by name; layer 2 judges the names. */
  readonly accepted: readonly string[];
};

export const defaultPort = 8000;
const longestScanMs = 5000;
const longestIdleSeconds = 3600;
const longestContinueSeconds = 600;

/** A time like `90s`, `20m` or `1h`, no longer than an hour. */
function idleTime(text: string | undefined): number {
  const match = /^(\d{1,4})([smh]?)$/.exec(text ?? `${longestIdleSeconds}s`);
  const seconds =
    match === null ? Number.NaN : Number(match[1]) * ({ '': 1, s: 1, m: 60, h: 3600 }[match[2] ?? ''] ?? Number.NaN);
  if (!(seconds >= 1 && seconds <= longestIdleSeconds))
    throw new KwyreError('USAGE_FLAG_RANGE', '--idle takes a time from 1s to 1h', './kwyre serve --idle 20m');
  return seconds;
}

function integer(flag: string, text: string | undefined, fallback: number, min: number, max: number): number {
  if (text === undefined) return fallback;
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= min && value <= max)) {
    throw new KwyreError(
      'USAGE_FLAG_RANGE',
      `--${flag} takes a whole number from ${min} to ${max}`,
      `./kwyre serve --${flag} ${fallback}`,
    );
  }
  return value;
}

/**
 * Parses the arguments after `serve`.
 * @throws `USAGE_FLAG_UNKNOWN`, `USAGE_FLAG_RANGE`
 */
export function parseServe(args: readonly string[]): Config {
  const text = { type: 'string' } as const;
  const many = { type: 'string', multiple: true } as const;
  const parse = () =>
    parseArgs({
      args: [...args],
      strict: true,
      allowPositionals: false,
      options: {
        port: text,
        socket: text,
        model: text,
        state: text,
        ctx: text,
        parallel: text,
        threads: text,
        weights: text,
        kv: text,
        idle: text,
        continue: text,
        'scan-interval': text,
        'acknowledge-violation': { type: 'boolean' },
        'acknowledge-tool': many,
        'accept-weaker': many,
      },
    }).values;
  let values: ReturnType<typeof parse>;
  try {
    values = parse();
  } catch {
    throw new KwyreError(
      'USAGE_FLAG_UNKNOWN',
      'serve does not know one of these flags; the address is always 127.0.0.1',
      './kwyre help serve lists the flags',
    );
  }
  const weights = values.weights ?? 'auto';
  if (weights !== 'memfd' && weights !== 'file' && weights !== 'auto')
    throw new KwyreError('USAGE_FLAG_RANGE', '--weights takes memfd, file or auto', './kwyre serve --weights auto');
  const kv = values.kv ?? 'sealed';
  if (kv !== 'sealed' && kv !== 'drop' && kv !== 'keep')
    throw new KwyreError('USAGE_FLAG_RANGE', '--kv takes sealed, drop or keep', './kwyre serve --kv sealed');
  const continued = values.continue ?? 'sealed';
  if (continued !== 'sealed' && continued !== 'off')
    throw new KwyreError('USAGE_FLAG_RANGE', '--continue takes sealed or off', './kwyre serve --continue sealed');
  const idleSeconds = idleTime(values.idle);
  return Object.freeze({
    port: integer('port', values.port, defaultPort, 0, 65535),
    socketPath: values.socket,
    model: values.model,
    state: values.state,
    contextTokens: integer('ctx', values.ctx, 0, 0, 1 << 20),
    parallel: integer('parallel', values.parallel, 4, 1, 64),
    threads: integer('threads', values.threads, 0, 0, 256),
    weights,
    kv,
    idleSeconds,
    continueSeconds: continued === 'off' || kv === 'drop' ? 0 : Math.min(idleSeconds, longestContinueSeconds),
    scanMs: integer('scan-interval', values['scan-interval'], longestScanMs, 250, longestScanMs),
    acknowledgeViolation: values['acknowledge-violation'] ?? false,
    acknowledgedTools: values['acknowledge-tool'] ?? [],
    accepted: values['accept-weaker'] ?? [],
  });
}
