/**
 * API tokens: 256 random bits each, one for the person (fresh per start) and named ones per application.
 *
 * Promise: named tokens are kept as digests only: the token itself is shown once.
 * Proof:   test/attacks/1-tokens.test.ts
 * @module
 */
import { createHash, randomBytes } from 'node:crypto';
import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import { KwyreError } from '../base/errors.ts';
import { readPrivate, removePrivate, writePrivate } from './state-directory.ts';

/** A token kept for one application. */
export type NamedToken = { readonly name: string; readonly digest: string; readonly createdAt: string };

/** SHA-256 of a token, hex: what the gateway compares. */
export function digestToken(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}

/** The opaque id of a token's holder: 16 bytes, hex; sessions belong to it. */
export function principalOf(digest: string): string {
  return createHash('sha256').update('kwyre principal\0').update(digest).digest('hex').slice(0, 32);
}

/** A new token of 256 random bits. */
export function makeToken(): string {
  return `kw-${randomBytes(32).toString('base64url')}`;
}

/**
 * Files of the person's token: by itself, and as a header line that `curl -H @FILE` reads without showing it in `ps`.
 */
export const tokenFiles = { token: 'token', header: 'authorization' } as const;

/** Writes the person's token for this start. */
export function writeToken(directory: string, token: string): void {
  writePrivate(join(directory, tokenFiles.token), `${token}\n`);
  writePrivate(join(directory, tokenFiles.header), `Authorization: Bearer ${token}\n`);
}

/** The person's token, or `undefined` when no server has written one. */
export function readToken(directory: string): string | undefined {
  return readPrivate(join(directory, tokenFiles.token))?.trim();
}

/** Removes the person's token at the end: it was for this start only. */
export function removeToken(directory: string): void {
  for (const file of Object.values(tokenFiles)) removePrivate(join(directory, file));
}

const namedTokensFile = 'tokens.json';

/** The named tokens, oldest first. @throws `L1_STATE_UNSAFE` also when the file is not ours in form. */
export function readNamedTokens(directory: string): NamedToken[] {
  const text = readPrivate(join(directory, namedTokensFile));
  if (text === undefined) return [];
  const broken = () =>
    new KwyreError(
      'L1_STATE_UNSAFE',
      `${join(directory, namedTokensFile)} is damaged`,
      'remove it and make the tokens again',
    );
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw broken();
  }
  if (!Array.isArray(parsed)) throw broken();
  return parsed.map((entry: unknown) => {
    const { name, digest, createdAt } = (entry ?? {}) as Record<string, unknown>;
    if (
      typeof name !== 'string' ||
      typeof digest !== 'string' ||
      !/^[0-9a-f]{64}$/.test(digest) ||
      typeof createdAt !== 'string'
    )
      throw broken();
    return { name, digest, createdAt };
  });
}

export function writeNamedTokens(directory: string, tokens: readonly NamedToken[]): void {
  writePrivate(join(directory, namedTokensFile), `${JSON.stringify(tokens, undefined, 2)}\n`);
}

/** Changes whenever the named tokens may have changed. */
export function namedTokensStamp(directory: string): string {
  try {
    const facts = lstatSync(join(directory, namedTokensFile), { bigint: true });
    return `${facts.ino}:${facts.mtimeNs}:${facts.size}`;
  } catch {
    return 'none';
  }
}
