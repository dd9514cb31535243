/**
 * `/v1/conversations`, `/v1/responses/{id}` and `/kwyre/sessions`: operations on stored conversations that do not run
 * the model.
 *
 * Promise: the id of another token's conversation and an unknown id get the same response. Only the operator can list
 *          and wipe other tokens' conversations, and sees their ids, times and sizes but no text.
 * Limits:  text only. `metadata` is not stored. All items are listed at once, in order.
 * Source:  https://platform.openai.com/docs/api-reference/conversations
 * Proof:   test/e2e/sessions.test.ts, test/attacks/5-sessions.test.ts
 * @module
 */
import { wipeBytes } from '../../base/bytes.ts';
import { bug } from '../../base/errors.ts';
import type { Session, SessionFacts } from '../../layers/5-memory/session.ts';
import type { RequestOpen } from '../../wire/data-payloads.ts';
import { mediaTypes } from '../../wire/data-payloads.ts';
import { engineRoutes } from '../../wire/messages.ts';
import type { ByteWriter } from '../bytes/byte-writer.ts';
import { sessionTooLarge, unknownSession } from '../session/session-errors.ts';
import type { SessionStore } from '../session/session-store.ts';
import type { Item, Transcript } from '../session/transcript.ts';
import type { Message } from '../types.ts';
import { itemTextTypes, readMessages } from './chat-messages.ts';
import { Field } from './field.ts';
import { writeItem } from './response-json.ts';
import type { Response } from './response.ts';
import { parseResponseId, writeResponse } from './responses.ts';

/** One request about a stored conversation. */
type ConversationRequest = {
  readonly sessions: SessionStore;
  /** The name of the served model. */
  readonly model: string;
  readonly open: RequestOpen;
  readonly body: Buffer;
  readonly response: Response;
};

const idPrefixes = { kept: 'conv_', continued: 'cont_' } as const;

/**
 * Parses an id in a path: `conv_` or `cont_` and 32 hexadecimal digits. @throws RequestError `SESSION_NOT_FOUND`
 */
function parseSessionId(parameter: string): string {
  const digits = /^(?:conv|cont)_([0-9a-f]{32})$/.exec(parameter)?.[1];
  if (digits === undefined) throw unknownSession();
  return digits;
}

/** Reads `{"items": […]}`. @throws RequestError `REQUEST_*` */
function readItems(body: Buffer, owned: Buffer[]): Message[] {
  return readMessages(Field.root(body).required('items'), { owned, textTypes: itemTextTypes });
}

/** Like {@link readItems}, but the items may be missing or empty. */
function readOptionalItems(body: Buffer, owned: Buffer[]): Message[] {
  const items = Field.root(body).member('items');
  return items === undefined || items.isEmptyArray ? [] : readMessages(items, { owned, textTypes: itemTextTypes });
}

function writeConversation(out: ByteWriter, id: string, createdSeconds: number): void {
  out.ascii(`{"id":"conv_${id}","object":"conversation","created_at":${createdSeconds},"metadata":{}}`);
}

function writeItems(out: ByteWriter, items: readonly Item[]): void {
  const quotedId = (item: Item | undefined) => (item === undefined ? 'null' : `"msg_${item.id}"`);
  out.ascii('{"object":"list","data":[');
  items.forEach((item, index) => {
    if (index > 0) out.ascii(',');
    writeItem(out, item);
  });
  out.ascii(`],"first_id":${quotedId(items[0])},"last_id":${quotedId(items.at(-1))},"has_more":false}`);
}

const seconds = (ms: number) => Math.floor(ms / 1000);

function writeFacts(
  out: ByteWriter,
  { id, kind, state, ageMs, idleMs, leftMs, bytes, tokens, turns }: SessionFacts,
): void {
  out
    .ascii(`{"id":"${idPrefixes[kind]}${id}","state":"${state}","age_s":${seconds(ageMs)},"idle_s":${seconds(idleMs)}`)
    .ascii(`,"left_s":${seconds(leftMs)},"bytes":${bytes},"tokens":${tokens},"turns":${turns}}`);
}

function writeList(out: ByteWriter, kv: string, list: readonly SessionFacts[]): void {
  const sealedBytes = list.reduce((sum, facts) => sum + facts.bytes, 0);
  out.ascii(`{"object":"list","kv":"${kv}","sealed_bytes":${sealedBytes},"data":[`);
  list.forEach((facts, index) => {
    if (index > 0) out.ascii(',');
    writeFacts(out, facts);
  });
  out.ascii(']}');
}

/** Adds items to a conversation as one turn. The caller disposes the transcript. @throws RequestError `SESSION_*` */
function append(
  sessions: SessionStore,
  session: Session,
  messages: readonly Message[],
): { transcript: Transcript; added: Item[] } {
  const transcript = sessions.openTranscript(session);
  const turn = session.turns + 1;
  const createdSeconds = sessions.unixSeconds();
  const added = messages.map(({ role, parts }) =>
    transcript.add({ role, text: parts[0] ?? Buffer.alloc(0), turn, createdSeconds }),
  );
  if (added.length > 0 && !sessions.sealTranscript(session, transcript)) {
    transcript[Symbol.dispose]();
    throw sessionTooLarge();
  }
  if (added.length > 0) session.turns = turn;
  return { transcript, added };
}

/** Creates a conversation with its first items. @throws RequestError `SESSION_*` */
function create(sessions: SessionStore, open: RequestOpen, messages: readonly Message[]): Session {
  const session = sessions.create(open, 'kept');
  try {
    append(sessions, session, messages).transcript[Symbol.dispose]();
  } catch (error) {
    sessions.wipe(session);
    throw error;
  }
  sessions.end(session);
  return session;
}

/** Deletes a stored response, which consists of the items of its turn and the KV state computed from them. */
function deleteResponse(sessions: SessionStore, session: Session, turn: number): void {
  using transcript = sessions.openTranscript(session);
  if (transcript.remove((item) => item.turn === turn) === 0) throw unknownSession();
  sessions.states.drop(session);
  if (transcript.items.length === 0 || !sessions.sealTranscript(session, transcript)) sessions.wipe(session);
}

/**
 * Handles one request. The caller ends the response and overwrites the body.
 * @throws RequestError `SESSION_*`, `REQUEST_*`
 */
export function handleConversation({ sessions, model, open, body, response }: ConversationRequest): void {
  const owned: Buffer[] = [];
  const { out } = response;
  const begin = () => {
    response.begin(200, mediaTypes.json);
  };
  const createdSeconds = (session: Session) => sessions.unixSeconds() - seconds(sessions.now - session.createdAt);
  const find = () => sessions.find(parseSessionId(open.parameter), open.principal);
  /** Finds a conversation for `/kwyre/sessions`. The operator may access any conversation. */
  const peek = () => {
    const session = sessions.vault.peek(parseSessionId(open.parameter));
    if (session === undefined || !(open.operator || session.principal.equals(open.principal))) throw unknownSession();
    return session;
  };
  const listed = open.operator ? undefined : open.principal;
  try {
    switch (open.route) {
      case engineRoutes.conversationCreate: {
        const session = create(sessions, open, readOptionalItems(body, owned));
        response.session = session.id;
        begin();
        writeConversation(out, session.id, createdSeconds(session));
        return;
      }
      case engineRoutes.conversationGet: {
        const session = find();
        begin();
        writeConversation(out, session.id, createdSeconds(session));
        return;
      }
      case engineRoutes.conversationDelete: {
        const session = find();
        const { id } = session;
        sessions.wipe(session);
        begin();
        out.ascii(`{"id":"conv_${id}","object":"conversation.deleted","deleted":true}`);
        return;
      }
      case engineRoutes.itemsList: {
        const session = find();
        sessions.during(session, () => {
          using transcript = sessions.openTranscript(session);
          begin();
          writeItems(out, transcript.items);
        });
        return;
      }
      case engineRoutes.itemsAppend: {
        const session = find();
        const messages = readItems(body, owned);
        sessions.during(session, () => {
          const { transcript, added } = append(sessions, session, messages);
          begin();
          writeItems(out, added);
          transcript[Symbol.dispose]();
        });
        return;
      }
      case engineRoutes.sessionsList: {
        const list = sessions.vault.list(sessions.now, listed);
        begin();
        writeList(out, sessions.states.posture, list);
        return;
      }
      case engineRoutes.sessionGet: {
        const session = peek();
        begin();
        writeFacts(out, sessions.vault.factsOf(session, sessions.now));
        return;
      }
      case engineRoutes.sessionDelete: {
        sessions.wipe(peek());
        begin();
        out.ascii('{"wiped":1}');
        return;
      }
      case engineRoutes.sessionsDelete: {
        const count = sessions.vault.wipeAll(sessions.now, listed);
        begin();
        out.ascii(`{"wiped":${count}}`);
        return;
      }
      case engineRoutes.responseGet: {
        const { session: id, turn } = parseResponseId(open.parameter);
        const session = sessions.find(id, open.principal);
        sessions.during(session, () => {
          using transcript = sessions.openTranscript(session);
          const output = transcript.items.filter((item) => item.turn === turn && item.role === 'assistant');
          const [first] = output;
          if (first === undefined) throw unknownSession();
          begin();
          const created = first.createdSeconds;
          writeResponse(out, { id: open.parameter, created, model, session: id, output, reason: 'stop' });
        });
        return;
      }
      case engineRoutes.responseDelete: {
        const { session: id, turn } = parseResponseId(open.parameter);
        const session = sessions.find(id, open.principal);
        sessions.during(session, () => {
          deleteResponse(sessions, session, turn);
        });
        begin();
        out.ascii(`{"id":"${open.parameter}","object":"response.deleted","deleted":true}`);
        return;
      }
      default:
        bug('a route that is handled elsewhere');
    }
  } finally {
    for (const text of owned) wipeBytes(text);
  }
}
