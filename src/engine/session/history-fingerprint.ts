/**
 * The fingerprints of a request's messages: how a client that sends its whole history again is recognised.
 *
 * Promise: fingerprints are keyed hashes in memory of their own; every one that nobody keeps is overwritten.
 * Proof:   test/e2e/sessions.test.ts
 * @module
 */
import { constantBytes } from '../../base/bytes.ts';
import type { Fingerprint, Fingerprinter } from '../../layers/5-memory/history-hash.ts';
import type { Message } from '../types.ts';
import { roleOrder } from './transcript.ts';

const lineFeed = constantBytes('\n');

/** Several parts are read as lines of one text, here as in the prompt. */
function piecesOf(message: Message): Buffer[] {
  return message.parts.flatMap((part, index) => (index > 0 ? [lineFeed, part] : [part]));
}

/** The fingerprint after one more message. */
export function fingerprintAfter(fingerprinter: Fingerprinter, before: Fingerprint, message: Message): Fingerprint {
  return fingerprinter.next(before, roleOrder.indexOf(message.role), piecesOf(message));
}

/** The fingerprints after each message, the last one first; the caller overwrites them. */
export function fingerprintsOf(
  fingerprinter: Fingerprinter,
  principal: Buffer,
  messages: readonly Message[],
): Fingerprint[] {
  const fingerprints: Fingerprint[] = [];
  let last = fingerprinter.begin(principal);
  const beginning = last;
  for (const message of messages) {
    last = fingerprintAfter(fingerprinter, last, message);
    fingerprints.unshift(last);
  }
  beginning.fill(0);
  return fingerprints;
}

/** Overwrites fingerprints. */
export function wipeFingerprints(fingerprints: readonly Fingerprint[]): void {
  for (const fingerprint of fingerprints) fingerprint.fill(0);
}
