/**
 * The token with which the owner uses the installed server. The owner gets the token itself; the server gets only its
 * digest.
 *
 * Proof: test/attacks/2-isolate.test.ts
 * @module
 */
import { accessFolder, places } from '../../layers/2-isolation/install/install-record.ts';
import type { Access } from '../../layers/2-isolation/install/install-steps.ts';
import { readRegularText } from '../../state/root-files.ts';
import { digestToken, makeToken } from '../../state/token-store.ts';

const tokensPath = `${places.state}/tokens.json`;

/** Reads the named tokens of the installed server; empty if the file is missing or damaged. */
function readTokens(): { readonly name: string; readonly digest: string }[] {
  try {
    const value: unknown = JSON.parse(readRegularText(tokensPath) ?? '[]');
    const isToken = (entry: unknown): entry is { name: string; digest: string } =>
      typeof entry === 'object' &&
      entry !== null &&
      typeof (entry as { name?: unknown }).name === 'string' &&
      typeof (entry as { digest?: unknown }).digest === 'string';
    return Array.isArray(value) ? value.filter(isToken) : [];
  } catch {
    return []; // the server also refuses a damaged file, so every token in it is void
  }
}

/** Returns whether the owner has a token that the server accepts. */
export function hasAccess(uid: number): boolean {
  const token = readRegularText(`${accessFolder(uid)}/token`)?.trim();
  return token !== undefined && readTokens().some((entry) => entry.digest === digestToken(token));
}

/** Creates a new token for the owner. Returns the contents of the files to write. */
export function makeAccess(person: { readonly uid: number }, port: number): Access {
  const token = makeToken();
  const now = new Date().toISOString();
  const name = `person-${person.uid}`;
  const tokens = [
    ...readTokens().filter((entry) => entry.name !== name),
    { name, digest: digestToken(token), createdAt: now },
  ];
  return {
    token: `${token}\n`,
    header: `Authorization: Bearer ${token}\n`,
    presence: `${JSON.stringify({ pid: 1, port, socket: null, model: 'installed', startedAt: now })}\n`,
    tokens: `${JSON.stringify(tokens, undefined, 2)}\n`,
  };
}
