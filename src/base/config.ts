/**
 * The flags of `kwyre serve` as a frozen value. No flag, variable or file can set an address other than 127.0.0.1.
 *
 * Proof: test/unit/base/config.test.ts
 * @module
 */
import { parseArgs } from 'node:util';
import { KwyreError } from './errors.ts';

/** The configuration of one server. */
export type Config = {
  /** TCP port on 127.0.0.1; 0 lets the kernel choose one. */
  readonly port: number;
  /** Path of an additional Unix socket; `undefined` for none. */
  readonly socketPath: string | undefined;
  /** A model's name or the path to a GGUF file; `undefined` for the embedded guide. */
  readonly model: string | undefined;
  /** The state folder; `undefined` for the default. */
  readonly state: string | undefined;
  /** Context size of a conversation in tokens; 0 for the default. */
  readonly contextTokens: number;
  /** Maximum number of conversations that are decoded together. */
  readonly parallel: number;
  /** Number of engine threads; 0 to choose it by core count and model size. */
  readonly threads: number;
  /** Whether a conversation's KV state is sealed, dropped, or kept in the context between turns. */
  readonly kv: 'sealed' | 'drop' | 'keep';
  /** Seconds after which an idle conversation is wiped; at most one hour. */
  readonly idleSeconds: number;
  /** Like `idleSeconds`, for conversations of clients that resend their history; 0 wipes them after each turn. */
  readonly continueSeconds: number;
  /** Where the weights are held: in an immutable memfd, in the file, or wherever they fit. */
  readonly weights: 'memfd' | 'file' | 'auto';
  /** Milliseconds between two watchdog scans; at most five seconds. */
  readonly scanMs: number;
  /** Whether the operator has reviewed the violation that stopped an earlier server during this boot. */
  readonly acknowledgeViolation: boolean;
  /** Ids of tools that may run alongside the server. */
  readonly acknowledgedTools: readonly string[];
  /** Layer 2 features that the operator has waived; layer 2 checks the names. */
  readonly accepted: readonly string[];
};

export const defaultPort = 8000;
const longestScanMs = 5000;
const longestIdleSeconds = 3600;
const longestContinueSeconds = 600;

/** Parses a duration such as `90s`, `20m` or `1h` into seconds. @throws `USAGE_FLAG_RANGE` beyond one hour */
function parseIdle(text: string | undefined): number {
  const match = /^(\d{1,4})([smh]?)$/.exec(text ?? `${longestIdleSeconds}s`);
  const seconds =
    match === null ? Number.NaN : Number(match[1]) * ({ '': 1, s: 1, m: 60, h: 3600 }[match[2] ?? ''] ?? Number.NaN);
  if (!(seconds >= 1 && seconds <= longestIdleSeconds))
    throw new KwyreError('USAGE_FLAG_RANGE', '--idle takes a duration from 1s to 1h', './kwyre serve --idle 20m');
  return seconds;
}

type IntegerFlag = { readonly fallback: number; readonly min: number; readonly max: number };

function integer(flag: string, text: string | undefined, { fallback, min, max }: IntegerFlag): number {
  if (text === undefined) return fallback;
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= min && value <= max)) {
    throw new KwyreError(
      'USAGE_FLAG_RANGE',
      `--${flag} takes an integer from ${min} to ${max}`,
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
      'unknown flag or missing value; the address is always 127.0.0.1',
      'list the flags with ./kwyre help serve',
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
  const idleSeconds = parseIdle(values.idle);
  return Object.freeze({
    port: integer('port', values.port, { fallback: defaultPort, min: 0, max: 65535 }),
    socketPath: values.socket,
    model: values.model,
    state: values.state,
    contextTokens: integer('ctx', values.ctx, { fallback: 0, min: 0, max: 1 << 20 }),
    parallel: integer('parallel', values.parallel, { fallback: 4, min: 1, max: 64 }),
    threads: integer('threads', values.threads, { fallback: 0, min: 0, max: 256 }),
    weights,
    kv,
    idleSeconds,
    continueSeconds: continued === 'off' || kv === 'drop' ? 0 : Math.min(idleSeconds, longestContinueSeconds),
    scanMs: integer('scan-interval', values['scan-interval'], {
      fallback: longestScanMs,
      min: 250,
      max: longestScanMs,
    }),
    acknowledgeViolation: values['acknowledge-violation'] ?? false,
    acknowledgedTools: values['acknowledge-tool'] ?? [],
    accepted: values['accept-weaker'] ?? [],
  });
}
