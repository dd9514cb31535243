/**
 * The actions, flags and output of `kwyre isolate`.
 * @module
 */
import { parseArgs } from 'node:util';
import { KwyreError } from '../../base/errors.ts';
import { plainText } from '../terminal.ts';

const verbs = ['plan', 'install', 'status', 'remove'] as const;
export type Verb = (typeof verbs)[number];

export type Flags = {
  readonly json: boolean;
  readonly port: number | undefined;
  readonly owner: string | undefined;
  readonly remove: boolean;
};

function usage(): KwyreError {
  return new KwyreError(
    'USAGE_ISOLATE',
    'isolate takes plan [--remove], install [--port N] [--owner NAME], status or remove, each with --json',
    './kwyre isolate plan',
  );
}

/** @throws `USAGE_ISOLATE` */
export function parseFlags(args: readonly string[]): { readonly verb: Verb; readonly flags: Flags } {
  const parse = () =>
    parseArgs({
      args: [...args],
      strict: true,
      allowPositionals: true,
      options: {
        json: { type: 'boolean' },
        remove: { type: 'boolean' },
        port: { type: 'string' },
        owner: { type: 'string' },
      },
    });
  let parsed: ReturnType<typeof parse>;
  try {
    parsed = parse();
  } catch {
    throw usage();
  }
  const [name, ...rest] = parsed.positionals;
  const verb = verbs.find((known) => known === name);
  const { port, owner, json = false, remove = false } = parsed.values;
  if (
    verb === undefined ||
    rest.length > 0 ||
    (port !== undefined && !(/^\d{1,5}$/.test(port) && Number(port) >= 1024 && Number(port) <= 65535))
  )
    throw usage();
  return { verb, flags: { json, remove, port: port === undefined ? undefined : Number(port), owner } };
}

/** Prints a value for programs (`--json`), or a text for human readers. */
export function print(flags: Flags, value: unknown, human: string): void {
  console.log(flags.json ? JSON.stringify(value, undefined, 2) : plainText(human));
}
