/**
 * Fingerprints of a request's messages. They identify the conversation of a client that resends its whole history.
 *
 * Promise: a fingerprint is a keyed hash. Fingerprints that are not stored are overwritten.
 * Proof:   test/e2e/sessions.test.ts
 * @module
 */
import { constantBytes } from '../../base/bytes.ts';
import type { Fingerprint, Fingerprinter } from '../../layers/5-memory/history-hash.ts';
import type { Message } from '../types.ts';
import { roleOrder } from './transcript.ts';

const lineFeed = constantBytes('\n');

/** Returns the text of a message in pieces: its parts with line feeds between them, as in the prompt. */
function piecesOf(message: Message): Buffer[] {
  return message.parts.flatMap((part, index) => (index > 0 ? [lineFeed, part] : [part]));
}

/** Returns the fingerprint of a history extended by one message. */
export function fingerprintAfter(fingerprinter: Fingerprinter, before: Fingerprint, message: Message): Fingerprint {
  return fingerprinter.next(before, roleOrder.indexOf(message.role), piecesOf(message));
}

/** Returns the fingerprint after each message, last message first. The caller overwrites the fingerprints. */
export function fingerprintsOf(
  fingerprinter: Fingerprinter,
  principal: Buffer,
  messages: readonly Message[],
): Fingerprint[] {
  const fingerprints: Fingerprint[] = [];
  const empty = fingerprinter.begin(principal);
  let last = empty;
  for (const message of messages) {
    last = fingerprintAfter(fingerprinter, last, message);
    fingerprints.unshift(last);
  }
  empty.fill(0);
  return fingerprints;
}

export function wipeFingerprints(fingerprints: readonly Fingerprint[]): void {
  for (const fingerprint of fingerprints) fingerprint.fill(0);
}
