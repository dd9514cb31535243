/**
 * One turn of a conversation that is kept: opened before it, answered, sealed again when its answer is over.
 *
 * Promise: a turn that was broken off leaves the conversation as it was before; a conversation that was wiped meanwhile
 *          stays gone. The answer's words are overwritten here once they are sealed.
 * Proof:   test/e2e/sessions.test.ts, test/attacks/5-sessions.test.ts
 * @module
 */
import { copyPlaintext, plaintextBytes } from '../../base/bytes.ts';
import { bug } from '../../base/errors.ts';
import type { TokenOwner } from '../../layers/5-memory/per-token-usage.ts';
import type { Session } from '../../layers/5-memory/session.ts';
import type { Fingerprint } from '../../layers/5-memory/history-hash.ts';
import type { ResponseSink } from '../api/response.ts';
import { ByteWriter } from '../bytes/byte-writer.ts';
import type { KvBinding } from '../inference/generation.ts';
import { fingerprintAfter, fingerprintsOf, wipeFingerprints } from './history-fingerprint.ts';
import type { SessionStore } from './session-store.ts';
import { sessionTooLarge, unknownSession } from './session-store.ts';
import type { Message } from '../types.ts';
import { RequestError } from '../types.ts';
import type { Transcript } from './transcript.ts';

/** What a turn leaves behind besides the state. */
type Ending = {
  /** The answer came to its end: it is part of the conversation now. */
  keep(session: Session, answer: Buffer): boolean;
  /** Overwrites what was held for it. */
  dispose(): void;
};

/** Which conversation a turn belongs to, and what is new in it. */
export type Wish = {
  /** 32 hexadecimal digits, or `new`. */
  readonly wish: string;
  readonly fresh: readonly Message[];
  /** Said before everything else in this turn, and not kept. */
  readonly preface?: readonly Message[];
  /** Go on from after this turn. */
  readonly until?: number | undefined;
};

export class Turn implements KvBinding {
  readonly session: Session;
  /** The whole conversation, this turn's messages included; views, valid until the visit is over. */
  readonly messages: readonly Message[];
  /** The number of this turn, and the id under which its answer is kept. */
  readonly turn: number;
  readonly answerId: string;
  readonly #keeper: SessionStore;
  readonly #ending: Ending;
  /** Whether it was made for this turn: without an answer there is nothing to keep. */
  readonly #fresh: boolean;
  readonly #answer = new ByteWriter(512);
  #finished = false;
  #over = false;

  private constructor(
    keeper: SessionStore,
    session: Session,
    messages: readonly Message[],
    fresh: boolean,
    ending: Ending,
    answerId = '',
  ) {
    this.turn = session.turns + 1;
    this.answerId = answerId;
    this.#keeper = keeper;
    this.session = session;
    this.messages = messages;
    this.#fresh = fresh;
    this.#ending = ending;
  }

  /** A turn of a conversation with an id: the messages are new ones. @throws RequestError `SESSION_*` */
  static converse(
    keeper: SessionStore,
    holder: TokenOwner,
    { wish, fresh, preface = [], until }: Wish,
    unixSeconds: () => number,
    transcriptRoom: number,
  ): Turn {
    const source = wish === 'new' ? undefined : keeper.find(wish, holder.principal);
    // Whoever goes on from an earlier turn begins another conversation with what was said until then.
    const branches = source !== undefined && until !== undefined && until < source.turns;
    const isNew = source === undefined || branches;
    const session = isNew ? keeper.create(holder, 'kept') : source;
    if (!isNew) keeper.begin(session);
    let transcript: Transcript | undefined;
    try {
      transcript = keeper.history(source ?? session);
      const words = transcript;
      if (until !== undefined && !words.items.some((item) => item.turn === until)) throw unknownSession();
      if (branches) {
        words.remove((item) => item.turn > until);
        session.turns = until;
      }
      const answerId = words.makeId();
      const turn = session.turns + 1;
      const bytes = [...preface, ...words.messages, ...fresh].reduce(
        (sum, message) => sum + message.parts.reduce((size, part) => size + part.length + 32, 0),
        0,
      );
      if (bytes + transcriptRoom > keeper.vault.quotas.bytesPerSession) throw sessionTooLarge();
      for (const { role, parts } of fresh) words.add(role, joined(parts), turn, unixSeconds());
      return new Turn(
        keeper,
        session,
        [...preface, ...words.messages],
        isNew,
        {
          keep(kept, answer) {
            words.add('assistant', answer, turn, unixSeconds(), answerId);
            kept.turns = turn;
            return keeper.saveHistory(kept, words);
          },
          dispose() {
            words[Symbol.dispose]();
          },
        },
        answerId,
      );
    } catch (error) {
      transcript?.[Symbol.dispose]();
      if (isNew) keeper.wipe(session);
      else keeper.end(session);
      throw error;
    }
  }

  /** A turn of a client that sends its history with every request; `undefined` when such are not kept. */
  static recognise(keeper: SessionStore, holder: TokenOwner, messages: readonly Message[]): Turn | undefined {
    if (!keeper.continues) return undefined;
    const fingerprints = fingerprintsOf(keeper.fingerprinter, holder.principal, messages);
    const known = keeper.vault.findByFingerprint(fingerprints, holder.principal);
    let session: Session;
    try {
      if (known !== undefined) keeper.begin(known);
      session = known ?? keeper.create(holder, 'continued');
    } catch (error) {
      wipeFingerprints(fingerprints);
      if (!(error instanceof RequestError)) throw error;
      return undefined; // no room: answered all the same, and wiped when it ends
    }
    const [last, ...others] = fingerprints;
    wipeFingerprints(others);
    const kept = last === undefined ? [] : [last];
    return new Turn(keeper, session, messages, known === undefined, {
      keep(of, answer) {
        const next: Fingerprint[] = kept.splice(0);
        const [asked] = next;
        const text = copyPlaintext(answer);
        if (asked !== undefined)
          next.unshift(fingerprintAfter(keeper.fingerprinter, asked, { role: 'assistant', parts: [text] }));
        text.fill(0);
        of.turns += 1;
        keeper.vault.setFingerprints(of, next);
        return true;
      },
      dispose() {
        wipeFingerprints(kept);
      },
    });
  }

  /** Whether the conversation was wiped while this turn was on its way. */
  get gone(): boolean {
    return this.session.state === 'gone';
  }

  /** Reads along. */
  listen(reader: ResponseSink): ResponseSink {
    return {
      content: (bytes) => {
        this.#answer.bytes(bytes);
        reader.content(bytes);
      },
      finish: (reason, usage) => {
        this.#finished = true;
        reader.finish(reason, usage);
      },
      fail: (error) => {
        reader.fail(error);
      },
      deliver: () => {
        reader.deliver?.();
      },
      behind: () => reader.behind(),
      [Symbol.dispose]: () => {
        reader[Symbol.dispose]();
      },
    };
  }

  seat(): number | undefined {
    return this.#keeper.seatOf(this.session);
  }

  enter(sequence: number, prompt: Int32Array): number {
    return this.gone ? 0 : this.#keeper.enter(this.session, sequence, prompt);
  }

  leave(sequence: number, tokens: Int32Array, intact: boolean): boolean {
    if (this.#over) return false;
    let held = false;
    if (this.#finished && !this.gone) {
      if (!this.#ending.keep(this.session, this.#answer.view())) this.#keeper.wipe(this.session, 'pressure');
      else if (sequence >= 0 && intact) held = this.#keeper.leave(this.session, sequence, tokens);
    }
    this.close();
    return held;
  }

  /** The turn is over, however; safe to call twice. */
  close(): void {
    if (this.#over) return;
    this.#over = true;
    this.#answer[Symbol.dispose]();
    this.#ending.dispose();
    this.session.abort = undefined;
    if (this.#fresh && !this.#finished) this.#keeper.wipe(this.session);
    else this.#keeper.end(this.session);
  }
}

/** The parts of a message as the lines of one text. */
function joined(parts: readonly Buffer[]): Buffer {
  const [only] = parts;
  if (parts.length === 1 && only !== undefined) return only;
  return only === undefined ? plaintextBytes(0) : bug('messages are read with one part each');
}
