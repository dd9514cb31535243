/**
 * One turn of a stored conversation, which is opened at the start of the turn and sealed again at its end.
 *
 * Promise: an aborted turn leaves the conversation unchanged. A conversation that is wiped during a turn stays wiped.
 * Proof:   test/e2e/sessions.test.ts, test/attacks/5-sessions.test.ts
 * @module
 */
import { copyPlaintext, plaintextBytes } from '../../base/bytes.ts';
import { bug } from '../../base/errors.ts';
import type { Fingerprint } from '../../layers/5-memory/history-hash.ts';
import type { TokenOwner } from '../../layers/5-memory/per-token-usage.ts';
import type { Session } from '../../layers/5-memory/session.ts';
import type { GenerationEnd, KvBinding, ParkedState } from '../inference/generation.ts';
import type { Message } from '../types.ts';
import { RequestError } from '../types.ts';
import { fingerprintAfter, fingerprintsOf, wipeFingerprints } from './history-fingerprint.ts';
import { sessionTooLarge, unknownSession } from './session-errors.ts';
import type { SessionStore } from './session-store.ts';
import type { Transcript } from './transcript.ts';

/** The changes that a turn makes to the conversation, apart from its KV state. */
type Update = {
  /** Adds the completion. @returns `false` if there is no room for it */
  commit(session: Session, completion: Buffer): boolean;
  /** Overwrites the prepared data. */
  dispose(): void;
};

/** A request for a turn of a conversation that has an id. */
type TurnRequest = {
  /** The conversation's id of 32 hexadecimal digits, or `new`. */
  readonly session: string;
  readonly messages: readonly Message[];
  /** Messages that precede the conversation in this turn only; they are not stored. */
  readonly preface?: readonly Message[];
  /** Number of the turn that this one continues from. */
  readonly after?: number | undefined;
  /** Bytes that the conversation's quota must still have free for the completion. */
  readonly reserveBytes: number;
};

/** Bytes that the quota counts for each message in addition to its text. */
const messageOverheadBytes = 32;

type TurnParts = {
  readonly session: Session;
  readonly messages: readonly Message[];
  /** Whether the conversation was created for this turn. If so, it is wiped unless the turn has a completion. */
  readonly isNew: boolean;
  readonly update: Update;
  readonly messageId?: string;
};

export class Turn implements KvBinding {
  readonly session: Session;
  /** The whole conversation including this turn's messages, as views that are valid until the turn is closed. */
  readonly messages: readonly Message[];
  /** Number of this turn, counted from 1. */
  readonly number: number;
  /** The id under which the completion is stored. */
  readonly messageId: string;
  readonly #sessions: SessionStore;
  readonly #update: Update;
  readonly #isNew: boolean;
  #committed = false;
  #closed = false;

  private constructor(sessions: SessionStore, { session, messages, isNew, update, messageId = '' }: TurnParts) {
    this.session = session;
    this.messages = messages;
    this.number = session.turns + 1;
    this.messageId = messageId;
    this.#sessions = sessions;
    this.#update = update;
    this.#isNew = isNew;
  }

  /** Begins a turn of a conversation that has an id. @throws RequestError `SESSION_*` */
  static inSession(
    sessions: SessionStore,
    holder: TokenOwner,
    { session: id, messages, preface = [], after, reserveBytes }: TurnRequest,
  ): Turn {
    const source = id === 'new' ? undefined : sessions.find(id, holder.principal);
    // A turn that continues from an earlier turn gets a new conversation with the items up to that earlier turn.
    const branches = source !== undefined && after !== undefined && after < source.turns;
    const isNew = source === undefined || branches;
    const session = isNew ? sessions.create(holder, 'kept') : source;
    if (!isNew) sessions.begin(session);
    let opened: Transcript | undefined;
    try {
      const transcript = sessions.openTranscript(source ?? session);
      opened = transcript;
      if (after !== undefined && !transcript.items.some((item) => item.turn === after)) throw unknownSession();
      if (branches) {
        transcript.remove((item) => item.turn > after);
        session.turns = after;
      }
      const messageId = transcript.makeId();
      const turn = session.turns + 1;
      const bytes = [...preface, ...transcript.messages, ...messages].reduce(
        (sum, { parts }) => sum + parts.reduce((size, part) => size + part.length + messageOverheadBytes, 0),
        0,
      );
      if (bytes + reserveBytes > sessions.vault.quotas.bytesPerSession) throw sessionTooLarge();
      const createdSeconds = sessions.unixSeconds();
      for (const { role, parts } of messages) transcript.add({ role, text: textOf(parts), turn, createdSeconds });
      const update: Update = {
        commit(kept, text) {
          transcript.add({ role: 'assistant', text, turn, createdSeconds: sessions.unixSeconds(), id: messageId });
          kept.turns = turn;
          return sessions.sealTranscript(kept, transcript);
        },
        dispose() {
          transcript[Symbol.dispose]();
        },
      };
      return new Turn(sessions, { session, messages: [...preface, ...transcript.messages], isNew, update, messageId });
    } catch (error) {
      opened?.[Symbol.dispose]();
      if (isNew) sessions.wipe(session);
      else sessions.end(session);
      throw error;
    }
  }

  /**
   * Begins a turn for a client that resends its whole history.
   * @returns `undefined` if such conversations are not stored or there is no room; the turn is then stateless
   */
  static fromHistory(sessions: SessionStore, holder: TokenOwner, messages: readonly Message[]): Turn | undefined {
    if (!sessions.recognisesHistory) return undefined;
    const fingerprints = fingerprintsOf(sessions.fingerprinter, holder.principal, messages);
    const known = sessions.vault.findByFingerprint(fingerprints, holder.principal);
    let session: Session;
    try {
      if (known !== undefined) sessions.begin(known);
      session = known ?? sessions.create(holder, 'continued');
    } catch (error) {
      wipeFingerprints(fingerprints);
      if (!(error instanceof RequestError)) throw error;
      return undefined;
    }
    const [last, ...others] = fingerprints;
    wipeFingerprints(others);
    const kept = last === undefined ? [] : [last];
    const update: Update = {
      commit(of, completion) {
        const next: Fingerprint[] = kept.splice(0);
        const [asked] = next;
        const text = copyPlaintext(completion);
        if (asked !== undefined)
          next.unshift(fingerprintAfter(sessions.fingerprinter, asked, { role: 'assistant', parts: [text] }));
        text.fill(0);
        of.turns += 1;
        sessions.vault.setFingerprints(of, next);
        return true;
      },
      dispose() {
        wipeFingerprints(kept);
      },
    };
    return new Turn(sessions, { session, messages, isNew: known === undefined, update });
  }

  /** Whether the conversation was wiped during the turn. */
  get gone(): boolean {
    return this.session.state === 'gone';
  }

  residentSlot(): number | undefined {
    return this.#sessions.states.residentSlot(this.session);
  }

  attach(slot: number, prompt: Int32Array): number {
    return this.gone ? 0 : this.#sessions.states.attach(this.session, slot, prompt);
  }

  detach({ slot, tokens, intact, completion }: GenerationEnd): ParkedState | undefined {
    if (this.#closed) return undefined;
    let parked: ParkedState | undefined;
    this.#committed = completion !== undefined;
    if (completion !== undefined && !this.gone) {
      if (!this.#update.commit(this.session, completion)) this.#sessions.wipe(this.session, 'pressure');
      else if (slot >= 0 && intact) parked = this.#sessions.states.detach(this.session, slot, tokens);
    }
    this.close();
    return parked;
  }

  /** Ends the turn; later calls do nothing. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#update.dispose();
    this.session.abort = undefined;
    if (this.#isNew && !this.#committed) this.#sessions.wipe(this.session);
    else this.#sessions.end(this.session);
  }
}

/** Returns the text of a message. */
function textOf(parts: readonly Buffer[]): Buffer {
  const [only] = parts;
  if (parts.length === 1 && only !== undefined) return only;
  return only === undefined ? plaintextBytes(0) : bug('messages are read with one part each');
}
