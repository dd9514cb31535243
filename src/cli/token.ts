/**
 * `kwyre token`: prints the user's own token for the running server, or manages named tokens, one for each application.
 *
 * A named token is shown only once, when it is created; the state folder stores only its digest. A running server
 * applies changes within a second.
 *
 * Proof: test/attacks/1-tokens.test.ts
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
          ? 'no named tokens; create one with ./kwyre token add NAME'
          : tokens.map((entry) => `${entry.name}  since ${entry.createdAt}`).join('\n'),
      );
      return 0;
    }
    case 'add': {
      if (name === undefined || !namePattern.test(name))
        throw new KwyreError(
          'USAGE_TOKEN_NAME',
          'a token needs a name of at most 64 letters, digits, dots, dashes and underscores',
          './kwyre token add my-editor',
        );
      const known = readNamedTokens(openState(directory));
      if (known.some((entry) => entry.name === name))
        throw new KwyreError('USAGE_TOKEN_EXISTS', 'a token of that name exists', `./kwyre token revoke ${name}`);
      if (known.length >= maxNamedTokens)
        throw new KwyreError(
          'USAGE_TOKEN_LIMIT',
          `there are ${maxNamedTokens} named tokens, which is the limit`,
          'revoke one: ./kwyre token revoke NAME',
        );
      const fresh = makeToken();
      writeNamedTokens(directory, [
        ...known,
        { name, digest: digestToken(fresh), createdAt: new Date().toISOString() },
      ]);
      print(
        { name, token: fresh },
        `${fresh}\n(shown only once; give it only to ${name}, revoke it with ./kwyre token revoke ${name})`,
      );
      return 0;
    }
    case 'revoke': {
      const known = readNamedTokens(openState(directory));
      if (name === undefined || !known.some((entry) => entry.name === name))
        throw new KwyreError('USAGE_TOKEN_UNKNOWN', 'no token of that name exists', './kwyre token list');
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
    'token takes no action, or link, add NAME, list, revoke NAME',
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
