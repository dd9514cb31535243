/**
 * API tokens: 256 random bits each, one for the person (fresh per start) and named ones per application.
 *
 * Promise: named tokens are stored only as digests: the token itself is shown once.
 * Proof:   test/attacks/1-tokens.test.ts
 * @module
 */
import { createHash, randomBytes } from 'node:crypto';
import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import { KwyreError } from '../base/errors.ts';
import { readPrivate, removePrivate, writePrivate } from './state-directory.ts';

/** A token of one application. */
export type NamedToken = { readonly name: string; readonly digest: string; readonly createdAt: string };

/** SHA-256 of a token, in hex: what the gateway compares. */
export function digestToken(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}

/** The id that owns the sessions of a token: 16 bytes, in hex. */
export function principalOf(digest: string): string {
  return createHash('sha256').update('kwyre principal\0').update(digest).digest('hex').slice(0, 32);
}

/** A new token of 256 random bits. */
export function makeToken(): string {
  return `kw-${randomBytes(32).toString('base64url')}`;
}

/** Files of the person's token: the token, and a header line for `curl -H @FILE`, which keeps it out of `ps`. */
export const tokenFiles = { token: 'token', header: 'authorization' } as const;

/** Writes the person's token for this start. */
export function writeToken(directory: string, token: string): void {
  writePrivate(join(directory, tokenFiles.token), `${token}\n`);
  writePrivate(join(directory, tokenFiles.header), `Authorization: Bearer ${token}\n`);
}

/** The person's token; `undefined` if no server has written one. */
export function readToken(directory: string): string | undefined {
  return readPrivate(join(directory, tokenFiles.token))?.trim();
}

/** Removes the person's token, which is valid for one start only. */
export function removeToken(directory: string): void {
  for (const file of Object.values(tokenFiles)) removePrivate(join(directory, file));
}

const namedTokensFile = 'tokens.json';

/** The named tokens, oldest first. @throws `L1_STATE_UNSAFE` also if the file is damaged */
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

/** A text that changes whenever the named tokens may have changed. */
export function namedTokensStamp(directory: string): string {
  try {
    const facts = lstatSync(join(directory, namedTokensFile), { bigint: true });
    return `${facts.ino}:${facts.mtimeNs}:${facts.size}`;
  } catch {
    return 'none';
  }
}
