/**
 * Where added models are remembered: one record for each, and one file of trusted keys.
 *
 * When `/etc/kwyre/trust.json` exists (root's, not writable by others) it is the only trust file: whoever serves as
 * another user cannot change it.
 * @module
 */
import * as fs from 'node:fs';
import { chmodSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { KwyreError } from '../base/errors.ts';
import { mendingOf, writersOf } from '../linux/files/path-writers.ts';
import { openState, readPrivate, rootFacts, unreadableRoot, writePrivate } from './state-directory.ts';

const systemTrust = '/etc/kwyre/trust.json';

function folder(state: string): string {
  return openState(join(state, 'models'));
}

/** Text of a model's record; `undefined` when no such model was added. The name was checked by the caller. */
export function readModelRecord(state: string, name: string): string | undefined {
  return readPrivate(join(folder(state), `${name}.json`));
}

export function writeModelRecord(state: string, name: string, text: string): void {
  writePrivate(join(folder(state), `${name}.json`), text);
}

export function removeModelRecord(state: string, name: string): void {
  rmSync(join(folder(state), `${name}.json`), { force: true });
}

/** Names of all added models. */
export function listModelRecords(state: string): string[] {
  return readdirSync(folder(state))
    .filter((file) => file.endsWith('.json'))
    .map((file) => file.slice(0, -'.json'.length))
    .sort();
}

/**
 * Text of the trust file and whether it belongs to the user who asks. @throws `L4_TRUST_UNSAFE`, `L4_TRUST_UNREADABLE`
 */
export function readModelTrust(state: string): { readonly text: string | undefined; readonly sameOwner: boolean } {
  const facts = rootFacts(systemTrust, 'L4_TRUST_UNREADABLE');
  if (facts === undefined) return { text: readPrivate(join(openState(state), 'trust.json')), sameOwner: true };
  const writers = writersOf(fs, [systemTrust]);
  if (writers.length > 0 || !facts.isFile())
    throw new KwyreError(
      'L4_TRUST_UNSAFE',
      `${systemTrust} is not a file of root that only root may write, with all folders above it`,
      `as root: ${writers.length > 0 ? mendingOf(writers) : `look at ${systemTrust}`}`,
    );
  try {
    return { text: readFileSync(systemTrust, 'utf8'), sameOwner: process.getuid?.() === 0 };
  } catch (error) {
    throw unreadableRoot(systemTrust, 'L4_TRUST_UNREADABLE', error);
  }
}

export function writeModelTrust(state: string, text: string): void {
  if (rootFacts(systemTrust, 'L4_TRUST_UNREADABLE') === undefined) {
    writePrivate(join(openState(state), 'trust.json'), text);
    return;
  }
  try {
    writeFileSync(`${systemTrust}.new`, text, { mode: 0o644 });
    chmodSync(`${systemTrust}.new`, 0o644);
    renameSync(`${systemTrust}.new`, systemTrust);
  } catch {
    throw new KwyreError('L4_TRUST_UNWRITABLE', `only root may change ${systemTrust}`, 'run the command as root');
  }
}

/** The operator's wrapped key, or `undefined` when none was made. */
export function readOperatorKey(state: string): string | undefined {
  return readPrivate(join(openState(state), 'operator.key'));
}

export function writeOperatorKey(state: string, text: string): void {
  writePrivate(join(openState(state), 'operator.key'), text);
}
