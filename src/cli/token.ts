/**
 * `kwyre token`: prints the person's token of the running server, or keeps one per application.
 *
 * A named token is shown once, when it is made; the state folder keeps its digest. A running server takes up
 * changes within a second.
 * @module
 */
import { parseArgs } from 'node:util';
import { KwyreError } from '../base/errors.ts';
import { openState } from '../state/state-directory.ts';
import { digestToken, makeToken, readNamedTokens, writeNamedTokens } from '../state/token-store.ts';
import { findServer, proveServer, serverDirectory, stateDirectory } from './client.ts';

const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const maxNamedTokens = 256;

export async function token(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseFlags(args);
  const directory = stateDirectory(values.state);
  const [action = 'show', name, ...extra] = positionals;
  if (extra.length > 0) throw usage();
  const print = (value: Record<string, unknown>, human: string) => {
    console.log(values.json === true ? JSON.stringify(value) : human);
  };
  switch (action) {
    case 'show': {
      const server = findServer(serverDirectory(values.state));
      await proveServer(server);
      print({ token: server.token }, server.token);
      return 0;
    }
    case 'link': {
      const server = findServer(serverDirectory(values.state));
      await proveServer(server);
      const link = `http://127.0.0.1:${server.presence.port}/#${server.token}`;
      print({ link }, link);
      return 0;
    }
    case 'list': {
      const tokens = readNamedTokens(openState(directory)).map(({ name: known, createdAt }) => ({
        name: known,
        createdAt,
      }));
      print(
        { tokens },
        tokens.length === 0
          ? 'no named tokens; make one with ./kwyre token add NAME'
          : tokens.map((entry) => `${entry.name}  since ${entry.createdAt}`).join('\n'),
      );
      return 0;
    }
    case 'add': {
      if (name === undefined || !namePattern.test(name))
        throw new KwyreError(
          'USAGE_TOKEN_NAME',
          'a token needs a name of letters, digits, dots and dashes, 64 at most',
          './kwyre token add my-editor',
        );
      const known = readNamedTokens(openState(directory));
      if (known.some((entry) => entry.name === name))
        throw new KwyreError(
          'USAGE_TOKEN_EXISTS',
          'there is a token of that name already',
          `./kwyre token revoke ${name}`,
        );
      if (known.length >= maxNamedTokens)
        throw new KwyreError('USAGE_TOKEN_LIMIT', `${maxNamedTokens} named tokens are the limit`, 'revoke one first');
      const fresh = makeToken();
      writeNamedTokens(directory, [
        ...known,
        { name, digest: digestToken(fresh), createdAt: new Date().toISOString() },
      ]);
      print(
        { name, token: fresh },
        `${fresh}\n(shown this once; give it to ${name} alone, end it with ./kwyre token revoke ${name})`,
      );
      return 0;
    }
    case 'revoke': {
      const known = readNamedTokens(openState(directory));
      if (name === undefined || !known.some((entry) => entry.name === name))
        throw new KwyreError('USAGE_TOKEN_UNKNOWN', 'there is no named token of that name', './kwyre token list');
      writeNamedTokens(
        directory,
        known.filter((entry) => entry.name !== name),
      );
      print({ revoked: name }, `${name} is revoked; a running server refuses it within a second`);
      return 0;
    }
    default:
      throw usage();
  }
}

function usage(): KwyreError {
  return new KwyreError(
    'USAGE_TOKEN',
    'token takes nothing, link, add NAME, list, or revoke NAME',
    './kwyre token --help',
  );
}

function parseFlags(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      strict: true,
      allowPositionals: true,
      options: { json: { type: 'boolean' }, state: { type: 'string' } },
    });
  } catch {
    throw usage();
  }
}
