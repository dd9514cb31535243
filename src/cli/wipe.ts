/**
 * `kwyre wipe`: lists the conversations of the running server, or wipes one or all of them.
 *
 * Promise: it uses the server's API like any client, and never reads the text of a conversation.
 * @module
 */
import { parseArgs } from 'node:util';
import { KwyreError } from '../base/errors.ts';
import { findServer, readJson, send, serverDirectory } from './client.ts';

const usage = () => new KwyreError('USAGE_FLAG_UNKNOWN', 'wipe takes one id, or --all', './kwyre wipe lists the ids');

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
          `${entry.id}  ${entry.state}, unused for ${entry.idle_s} s, wiped in ${entry.left_s} s, ` +
            `${entry.tokens} tokens, ${entry.bytes} bytes encrypted`,
        );
      console.log(
        data.length === 0
          ? 'there are no conversations'
          : `conversations: ${data.length}; ./kwyre wipe ID wipes one, ./kwyre wipe --all wipes all`,
      );
    }
    return 0;
  }
  const { wiped } = (await readJson(
    await send(server, 'DELETE', id === undefined ? '/kwyre/sessions' : `/kwyre/sessions/${id}`),
  )) as { wiped: number };
  console.log(values.json === true ? JSON.stringify({ wiped }) : `${wiped} wiped: keys destroyed, content overwritten`);
  return 0;
}
