/**
 * API tokens of 256 random bits: one for the user who runs the server, generated at each start, and one per named
 * application.
 *
 * Promise: named tokens are stored only as digests; each token itself is shown only once.
 * Proof:   test/attacks/1-tokens.test.ts
 * @module
 */
import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import { KwyreError } from '../base/errors.ts';
import { readPrivate, removePrivate, writePrivate } from './state-directory.ts';

const { createHash, randomBytes } = process.getBuiltinModule('node:crypto');

/** A token of one application. */
export type NamedToken = { readonly name: string; readonly digest: string; readonly createdAt: string };

/** Returns the SHA-256 of a token, in hex, which is what the gateway compares. */
export function digestToken(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}

/** Returns the id under which a token owns sessions: 16 bytes, in hex. */
export function principalOf(digest: string): string {
  return createHash('sha256').update('kwyre principal\0').update(digest).digest('hex').slice(0, 32);
}

/** Returns a new token of 256 random bits. */
export function makeToken(): string {
  return `kw-${randomBytes(32).toString('base64url')}`;
}

/** Files of the user's token: the token, and a header line for `curl -H @FILE`, which keeps the token out of `ps`. */
export const tokenFiles = { token: 'token', header: 'authorization' } as const;

/** Writes the user's token for this run of the server. */
export function writeToken(directory: string, token: string): void {
  writePrivate(join(directory, tokenFiles.token), `${token}\n`);
  writePrivate(join(directory, tokenFiles.header), `Authorization: Bearer ${token}\n`);
}

/** Returns the user's token; `undefined` if no server has written one. */
export function readToken(directory: string): string | undefined {
  return readPrivate(join(directory, tokenFiles.token))?.trim();
}

/** Removes the user's token, which is valid only until the server exits. */
export function removeToken(directory: string): void {
  for (const file of Object.values(tokenFiles)) removePrivate(join(directory, file));
}

const namedTokensFile = 'tokens.json';

/** Returns the named tokens, oldest first. @throws `L1_STATE_UNSAFE`, also if the file is damaged */
export function readNamedTokens(directory: string): NamedToken[] {
  const text = readPrivate(join(directory, namedTokensFile));
  if (text === undefined) return [];
  const damaged = () =>
    new KwyreError(
      'L1_STATE_UNSAFE',
      `${join(directory, namedTokensFile)} is damaged`,
      `remove it and create the tokens again: ./kwyre token add NAME`,
    );
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw damaged();
  }
  if (!Array.isArray(parsed)) throw damaged();
  return parsed.map((entry: unknown) => {
    const { name, digest, createdAt } = (entry ?? {}) as Record<string, unknown>;
    if (
      typeof name !== 'string' ||
      typeof digest !== 'string' ||
      !/^[0-9a-f]{64}$/.test(digest) ||
      typeof createdAt !== 'string'
    )
      throw damaged();
    return { name, digest, createdAt };
  });
}

export function writeNamedTokens(directory: string, tokens: readonly NamedToken[]): void {
  writePrivate(join(directory, namedTokensFile), `${JSON.stringify(tokens, undefined, 2)}\n`);
}

/** Returns a string that changes whenever the named tokens may have changed. */
export function namedTokensStamp(directory: string): string {
  try {
    const facts = lstatSync(join(directory, namedTokensFile), { bigint: true });
    return `${facts.ino}:${facts.mtimeNs}:${facts.size}`;
  } catch {
    return 'none';
  }
}
