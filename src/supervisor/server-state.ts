/**
 * The state folder of a running server: its lock, event log, violation marker, token files and presence file.
 *
 * Promise: a second server with the same folder does not start. A violation is logged, and a marker is written. If a
 *          file cannot be written, the terminal shows that, and the server still ends with the same exit code.
 * Proof:   test/e2e/lifecycle.test.ts, test/attacks/x-disk.test.ts
 * @module
 */
import { join } from 'node:path';
import type { Config } from '../base/config.ts';
import { KwyreError } from '../base/errors.ts';
import type { Violation } from '../layers/6-intrusion/escalation.ts';
import { lockFile } from '../linux/files/file-lock.ts';
import { EventLog, eventsFile } from '../state/event-log.ts';
import type { Presence } from '../state/presence.ts';
import { removePresence, writePresence } from '../state/presence.ts';
import { lockName } from '../state/server-witness.ts';
import { defaultStateDirectory, openState, unwritable } from '../state/state-directory.ts';
import { removeToken, tokenFiles, writeToken } from '../state/token-store.ts';
import { assertNoViolation, markerPaths, markViolation, readBootId } from '../state/violation-marker.ts';

/** Locks a state folder; returns `false` if another server holds the lock. @throws `STATE_UNWRITABLE` */
function takeLock(folder: string): boolean {
  const path = join(folder, lockName);
  try {
    return lockFile(path);
  } catch (error) {
    throw unwritable(path, error);
  }
}

export class ServerState {
  readonly folder: string;
  readonly log: EventLog;
  /** Path of the file with the token of the user who runs the server. */
  readonly tokenPath: string;
  readonly headerPath: string;
  readonly #bootId: string;
  readonly #markers: readonly [string, ...string[]];

  /**
   * Opens the state folder for the server in this process.
   * @throws `STATE_IN_USE`, `L6_VIOLATION_STANDS`, `L1_STATE_UNSAFE`, `STATE_*`
   */
  constructor({ state, acknowledgeViolation }: Pick<Config, 'state' | 'acknowledgeViolation'>, uid: number) {
    this.folder = openState(state ?? defaultStateDirectory(process.env));
    if (!takeLock(this.folder))
      throw new KwyreError(
        'STATE_IN_USE',
        `a server already runs with the state folder ${this.folder}`,
        './kwyre status shows it; start a second one with --state DIR and --port',
      );
    // Stale files from a server that was killed; clients must not find them.
    removeToken(this.folder);
    removePresence(this.folder);
    this.#bootId = readBootId();
    this.#markers = markerPaths(this.folder, uid);
    assertNoViolation(this.#markers, this.#bootId, acknowledgeViolation);
    this.tokenPath = join(this.folder, tokenFiles.token);
    this.headerPath = join(this.folder, tokenFiles.header);
    this.log = new EventLog(this.folder, (reason) => {
      console.error(
        `kwyre: events cannot be written to ${join(this.folder, eventsFile)} (${reason}); they are counted, and the ` +
          `server continues\n  next: ${unwritable(this.folder, { code: reason }).remedy}`,
      );
    });
  }

  /** Writes the user's own token, so that clients can find it. @throws `STATE_UNWRITABLE` */
  publishToken(token: string): void {
    writeToken(this.folder, token);
  }

  /** @throws `STATE_UNWRITABLE` */
  withdrawToken(): void {
    removeToken(this.folder);
  }

  /** Tells clients of the same user where the server is. @throws `STATE_UNWRITABLE` */
  publishPresence(presence: Presence): void {
    writePresence(this.folder, presence);
  }

  /** @throws `STATE_UNWRITABLE` */
  withdrawPresence(): void {
    removePresence(this.folder);
  }

  /**
   * Logs a violation, writes the marker, and prints how to proceed. Called after every conversation has ended; never
   * throws.
   * @param words - description for the terminal; by default the detector and the process
   */
  recordViolation(violation: Violation, words?: string): void {
    const { code, detector, pid, uid, name } = violation;
    this.log.write({ code, detector, pid, uid, name });
    const isMarked = markViolation(this.#markers, violation, this.#bootId) !== undefined;
    const next = isMarked
      ? 'the server will not start again by itself'
      : 'no marker could be written anywhere: only exit code 16 and this message record it';
    console.error(
      `kwyre: ${code}: ${words ?? `${detector}, ${name} (pid ${pid}, uid ${uid})`}; every conversation was ended; ` +
        `${next}\n  next: find out what happened; then start again: ./kwyre serve --acknowledge-violation`,
    );
  }
}
