/**
 * Files for added models: one record for each model, one file of trusted keys, and the operator's signing key.
 *
 * If `/etc/kwyre/trust.json` exists (owned by root, writable by nobody else), it is the only trust file: the user who
 * runs the server cannot change it.
 * @module
 */
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { KwyreError } from '../base/errors.ts';
import { replaceAtomically } from './private-file.ts';
import { readRootText, rootFacts } from './root-files.ts';
import { openState, readPrivate, writePrivate } from './state-directory.ts';

const systemTrust = '/etc/kwyre/trust.json';
const unreadableCode = 'L4_TRUST_UNREADABLE';

function folder(state: string): string {
  return openState(join(state, 'models'));
}

/**
 * Returns the text of a model's record; `undefined` if no such model was added. The caller must check the name first.
 */
export function readModelRecord(state: string, name: string): string | undefined {
  return readPrivate(join(folder(state), `${name}.json`));
}

export function writeModelRecord(state: string, name: string, text: string): void {
  writePrivate(join(folder(state), `${name}.json`), text, { durable: true });
}

export function removeModelRecord(state: string, name: string): void {
  rmSync(join(folder(state), `${name}.json`), { force: true });
}

/** Returns the names of all added models. */
export function listModelRecords(state: string): string[] {
  return readdirSync(folder(state))
    .filter((file) => file.endsWith('.json'))
    .map((file) => file.slice(0, -'.json'.length))
    .sort();
}

/**
 * Returns the text of the trust file, and whether it belongs to the calling user.
 * @throws `L4_TRUST_UNSAFE`, `L4_TRUST_UNREADABLE`
 */
export function readModelTrust(state: string): { readonly text: string | undefined; readonly sameOwner: boolean } {
  const text = readRootText(systemTrust, 'L4_TRUST_UNSAFE', unreadableCode);
  return text === undefined
    ? { text: readPrivate(join(openState(state), 'trust.json')), sameOwner: true }
    : { text, sameOwner: process.getuid?.() === 0 };
}

/** Replaces the trust file that is in force. @throws `L4_TRUST_UNWRITABLE` */
export function writeModelTrust(state: string, text: string): void {
  if (rootFacts(systemTrust, unreadableCode) === undefined) {
    writePrivate(join(openState(state), 'trust.json'), text, { durable: true });
    return;
  }
  try {
    replaceAtomically(systemTrust, text, { mode: 0o644, durable: true });
  } catch {
    throw new KwyreError('L4_TRUST_UNWRITABLE', `only root can change ${systemTrust}`, 'run the command as root');
  }
}

/** Returns the operator's encrypted key; `undefined` if none was created. */
export function readOperatorKey(state: string): string | undefined {
  return readPrivate(join(openState(state), 'operator.key'));
}

export function writeOperatorKey(state: string, text: string): void {
  writePrivate(join(openState(state), 'operator.key'), text, { durable: true });
}
