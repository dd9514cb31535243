/**
 * `/v1/conversations` and `/kwyre/sessions`: conversations with an id, without a turn of the model.
 *
 * Promise: a foreign id and an unknown one get the same answer; only the person who runs the server sees that others'
 *          conversations exist, and may wipe them: ids, times and sizes, never a word.
 * Limits:  text only; `metadata` is not kept; all items are listed at once, in their order.
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
import type { Response } from './response.ts';
import type { ByteWriter } from '../bytes/byte-writer.ts';
import { given } from './field.ts';
import { parseJson } from '../bytes/json-parser.ts';
import type { SessionStore } from '../session/session-store.ts';
import { sessionTooLarge, unknownSession } from '../session/session-store.ts';
import { itemForm, readMessages } from './chat-messages.ts';
import type { Message } from '../types.ts';
import { RequestError } from '../types.ts';
import { parseResponseId, writeResponse } from './responses.ts';
import type { Item, Transcript } from '../session/transcript.ts';
import { jsonKinds } from '../bytes/json-tree.ts';
import { writeItem } from './response-json.ts';

/** How the two kinds of ids begin. */
const prefixes = { kept: 'conv_', continued: 'cont_' } as const;

/**
 * An id as the paths carry it: `conv_` or `cont_` and 32 hexadecimal digits. @throws RequestError `SESSION_NOT_FOUND`
 */
function idOf(parameter: string): string {
  return /^(?:conv|cont)_([0-9a-f]{32})$/.exec(parameter)?.[1] ?? refuseUnknown();
}

function refuseUnknown(): never {
  throw unknownSession();
}

/** Reads `{"items": […]}`; an empty body and none are no items. */
function readItems(body: Buffer, owned: Buffer[], required: boolean): Message[] {
  const tree = parseJson(body);
  if (tree.kind(0) !== jsonKinds.object) throw new RequestError('REQUEST_JSON_SHAPE', 'the body must be a JSON object');
  const items = given(tree, 0, 'items');
  if (items === undefined) {
    if (required) throw new RequestError('REQUEST_FIELD_MISSING', 'items is required', 'items');
    return [];
  }
  if (!required && tree.kind(items) === jsonKinds.array && tree.count(items) === 0) return [];
  return readMessages(tree, items, owned, itemForm('items'));
}

function writeConversation(out: ByteWriter, id: string, createdSeconds: number): void {
  out.ascii(`{"id":"conv_${id}","object":"conversation","created_at":${createdSeconds},"metadata":{}}`);
}

function writeItems(out: ByteWriter, items: readonly Item[]): void {
  const [first] = items;
  const last = items.at(-1);
  out.ascii('{"object":"list","data":[');
  items.forEach((item, index) => {
    if (index > 0) out.ascii(',');
    writeItem(out, item);
  });
  out.ascii(
    `],"first_id":${first === undefined ? 'null' : `"msg_${first.id}"`},"last_id":${last === undefined ? 'null' : `"msg_${last.id}"`},"has_more":false}`,
  );
}

const seconds = (ms: number) => Math.floor(ms / 1000);

function writeFacts(out: ByteWriter, facts: SessionFacts): void {
  out.ascii(
    `{"id":"${prefixes[facts.kind]}${facts.id}","state":"${facts.state}","age_s":${seconds(facts.ageMs)},"idle_s":${seconds(facts.idleMs)},"left_s":${seconds(facts.leftMs)},"bytes":${facts.bytes},"tokens":${facts.tokens},"turns":${facts.turns}}`,
  );
}

/** Adds items to a conversation in one turn without the model; gives the new ones. */
function append(
  keeper: SessionStore,
  session: Session,
  messages: readonly Message[],
  now: number,
): { transcript: Transcript; added: Item[] } {
  const transcript = keeper.history(session);
  const turn = session.turns + 1;
  const added = messages.map(({ role, parts }) => transcript.add(role, parts[0] ?? Buffer.alloc(0), turn, now));
  if (added.length > 0 && !keeper.saveHistory(session, transcript)) {
    transcript[Symbol.dispose]();
    throw sessionTooLarge();
  }
  if (added.length > 0) session.turns = turn;
  return { transcript, added };
}

/** What the answers need to know besides. */
export type Facts = { readonly unixSeconds: () => number; readonly model: string };

/** Does something with a conversation while nobody else does. */
function within<T>(keeper: SessionStore, session: Session, act: () => T): T {
  keeper.begin(session);
  try {
    return act();
  } finally {
    keeper.end(session);
  }
}

/** The conversation that a path of `/kwyre/sessions` names: the caller's own, or any for the operator. */
function anyOf(keeper: SessionStore, open: RequestOpen): Session {
  const session = keeper.vault.peek(idOf(open.parameter));
  if (session === undefined || !(open.operator || session.principal.equals(open.principal))) throw unknownSession();
  return session;
}

/**
 * Answers one request; the caller ends the response.
 * @throws RequestError `SESSION_*`, `REQUEST_*`
 */
export function answerConversations(
  keeper: SessionStore,
  { unixSeconds, model }: Facts,
  open: RequestOpen,
  body: Buffer,
  response: Response,
): void {
  const owned: Buffer[] = [];
  const { out } = response;
  const begin = () => {
    response.begin(200, mediaTypes.json);
  };
  const createdSeconds = (session: Session) => unixSeconds() - seconds(keeper.now - session.createdAt);
  try {
    switch (open.route) {
      case engineRoutes.conversationCreate: {
        const messages = readItems(body, owned, false);
        const session = keeper.create(open, 'kept');
        try {
          append(keeper, session, messages, unixSeconds()).transcript[Symbol.dispose]();
        } catch (error) {
          keeper.wipe(session);
          throw error;
        }
        keeper.end(session);
        response.session = session.id;
        begin();
        writeConversation(out, session.id, createdSeconds(session));
        return;
      }
      case engineRoutes.conversationGet: {
        const session = keeper.find(idOf(open.parameter), open.principal);
        begin();
        writeConversation(out, session.id, createdSeconds(session));
        return;
      }
      case engineRoutes.conversationDelete: {
        const session = keeper.find(idOf(open.parameter), open.principal);
        const { id } = session;
        keeper.wipe(session);
        begin();
        out.ascii(`{"id":"conv_${id}","object":"conversation.deleted","deleted":true}`);
        return;
      }
      case engineRoutes.itemsList: {
        const session = keeper.find(idOf(open.parameter), open.principal);
        within(keeper, session, () => {
          using transcript = keeper.history(session);
          begin();
          writeItems(out, transcript.items);
        });
        return;
      }
      case engineRoutes.itemsAppend: {
        const session = keeper.find(idOf(open.parameter), open.principal);
        const messages = readItems(body, owned, true);
        within(keeper, session, () => {
          const { transcript, added } = append(keeper, session, messages, unixSeconds());
          begin();
          writeItems(out, added);
          transcript[Symbol.dispose]();
        });
        return;
      }
      case engineRoutes.sessionsList: {
        const list = keeper.vault.list(keeper.now, open.operator ? undefined : open.principal);
        begin();
        out.ascii(
          `{"object":"list","kv":"${keeper.kv}","sealed_bytes":${list.reduce((sum, facts) => sum + facts.bytes, 0)},"data":[`,
        );
        list.forEach((facts, index) => {
          if (index > 0) out.ascii(',');
          writeFacts(out, facts);
        });
        out.ascii(']}');
        return;
      }
      case engineRoutes.sessionGet: {
        const session = anyOf(keeper, open);
        begin();
        writeFacts(out, keeper.vault.factsOf(session, keeper.now));
        return;
      }
      case engineRoutes.sessionDelete: {
        keeper.wipe(anyOf(keeper, open));
        begin();
        out.ascii('{"wiped":1}');
        return;
      }
      case engineRoutes.sessionsDelete: {
        const count = keeper.vault.wipeAll(keeper.now, open.operator ? undefined : open.principal);
        begin();
        out.ascii(`{"wiped":${count}}`);
        return;
      }
      case engineRoutes.responseGet: {
        const { session: id, turn } = parseResponseId(open.parameter);
        const session = keeper.find(id, open.principal);
        within(keeper, session, () => {
          using transcript = keeper.history(session);
          const output = transcript.items.filter((item) => item.turn === turn && item.role === 'assistant');
          const [first] = output;
          if (first === undefined) throw unknownSession();
          begin();
          writeResponse(
            out,
            { id: open.parameter, created: first.createdSeconds, model, session: id },
            output,
            'stop',
            undefined,
          );
        });
        return;
      }
      case engineRoutes.responseDelete: {
        const { session: id, turn } = parseResponseId(open.parameter);
        const session = keeper.find(id, open.principal);
        within(keeper, session, () => {
          using transcript = keeper.history(session);
          if (transcript.remove((item) => item.turn === turn) === 0) throw unknownSession();
          keeper.dropState(session); // the model remembers those words too
          if (transcript.items.length === 0 || !keeper.saveHistory(session, transcript)) keeper.wipe(session);
        });
        begin();
        out.ascii(`{"id":"${open.parameter}","object":"response.deleted","deleted":true}`);
        return;
      }
      default:
        bug('a route that is answered elsewhere');
    }
  } finally {
    for (const text of owned) wipeBytes(text);
  }
}
