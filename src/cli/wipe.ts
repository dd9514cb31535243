/**
 * `kwyre wipe`: wipes conversations of the running server, one or all, and says how many.
 *
 * Promise: it asks the server that a person runs, over its API, like any client; it reads no conversation.
 * @module
 */
import { parseArgs } from 'node:util';
import { KwyreError } from '../base/errors.ts';
import { findServer, readJson, send, serverDirectory } from './client.ts';

const usage = () => new KwyreError('USAGE_FLAG_UNKNOWN', 'wipe takes one id or --all', './kwyre wipe lists the ids');

type Listed = {
  readonly data: readonly {
    readonly id: string;
    readonly state: string;
    readonly idle_s: number;
    readonly left_s: number;
    readonly bytes: number;
    readonly tokens: number;
  }[];
};

function parseFlags(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      strict: true,
      allowPositionals: true,
      options: { all: { type: 'boolean' }, json: { type: 'boolean' }, state: { type: 'string' } },
    });
  } catch {
    throw usage();
  }
}

export async function wipe(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseFlags(args);
  const [id, ...more] = positionals;
  if (more.length > 0 || (id !== undefined && (values.all === true || !/^(conv|cont)_[0-9a-f]{32}$/.test(id))))
    throw usage();
  const server = findServer(serverDirectory(values.state));
  if (id === undefined && values.all !== true) {
    const { data } = (await readJson(await send(server, 'GET', '/kwyre/sessions'))) as Listed;
    if (values.json === true) console.log(JSON.stringify({ sessions: data }));
    else {
      for (const entry of data)
        console.log(
          `${entry.id}  ${entry.state}, unused for ${entry.idle_s} s, ${entry.left_s} s left, ${entry.tokens} tokens, ${entry.bytes} bytes sealed`,
        );
      console.log(
        data.length === 0
          ? 'no conversation is kept'
          : `${data.length} kept; ./kwyre wipe ID wipes one, ./kwyre wipe --all all`,
      );
    }
    return 0;
  }
  const { wiped } = (await readJson(
    await send(server, 'DELETE', id === undefined ? '/kwyre/sessions' : `/kwyre/sessions/${id}`),
  )) as { wiped: number };
  console.log(values.json === true ? JSON.stringify({ wiped }) : `${wiped} wiped: key destroyed, content overwritten`);
  return 0;
}
