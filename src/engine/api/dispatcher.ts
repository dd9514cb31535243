/**
 * What the engine does with the frames of the data edge: collects a body, answers it, forgets it.
 *
 * Promise: a body lives in one buffer of its own that is overwritten as soon as it was read; a frame that the gateway
 *          may not send at this point is a breach.
 * Proof:   test/e2e/engine.test.ts
 * @module
 */
import { wipeBytes, plaintextBytes } from '../../base/bytes.ts';
import { KwyreError } from '../../base/errors.ts';
import { TemplateError } from '../../template/runtime/budget.ts';
import type { Template } from '../../template/template.ts';
import type { Channel, DispatchTable } from '../../wire/channel.ts';
import type { Frame } from '../../wire/frame.ts';
import type { RequestOpen } from '../../wire/data-payloads.ts';
import { mediaTypes, parseCredit, parseRequestOpen } from '../../wire/data-payloads.ts';
import { dataMessages, engineRoutes } from '../../wire/messages.ts';
import type { ResponseSink } from './response.ts';
import { Response, EventStreamSink, JsonSink } from './response.ts';
import { answerConversations } from './conversations.ts';
import { Generation } from '../inference/generation.ts';
import type { SessionStore } from '../session/session-store.ts';
import { goneError } from '../session/session-store.ts';
import type { LlamaModel } from '../llama/model.ts';
import { parseChatRequest } from './chat-request.ts';
import type { ResponseHeadFacts, ResponseRequest } from './responses.ts';
import { parseResponseRequest, responseId, writeResponse } from './responses.ts';
import type { ChatRequest, Message, Prompt } from '../types.ts';
import { RequestError } from '../types.ts';
import type { Scheduler } from '../inference/scheduler.ts';
import { Turn } from '../session/turn.ts';
import type { PromptTokens, PromptTokenizer } from '../llama/prompt-tokenizer.ts';
import { writeCompletion, writeModel, writeModels } from './response-json.ts';

/** What the answers are made with. */
export type Powers = {
  readonly llama: LlamaModel;
  readonly vocabulary: PromptTokenizer;
  readonly scheduler: Scheduler;
  readonly template: Template;
  readonly keeper: SessionStore;
  readonly model: { readonly name: string; readonly createdSeconds: number };
  readonly turnMs: number;
  /** The largest body in bytes that is taken. */
  readonly bodyBytes: number;
  readonly now: () => number;
  readonly unixSeconds: () => number;
  /** `count` random hexadecimal digits. */
  readonly randomHex: (count: number) => string;
  readonly randomSeed: () => number;
};

/** The name under which every client may ask for the served model. */
export const defaultName = 'default';

/** The room for an answer that a conversation must have left in its quota. */
const answerBytesPerToken = 8;

/**
 * Requests that the gateway may have open here, and the bodies that they may announce together: twice its own limits.
 */
const deskLimits = { exchanges: 256, bodyBytes: 256 << 20 } as const;

/** One request from its first frame to the last of its answer. */
type Exchange = {
  readonly stream: number;
  readonly open: RequestOpen;
  readonly body: Buffer;
  filled: number;
  /** The whole body has come. */
  asked: boolean;
  readonly response: Response;
  /** What of an answer may still be let go. */
  reader: ResponseSink | undefined;
  generation: Generation | undefined;
};

const shapeFault = (what: string) => new KwyreError('WIRE_MESSAGE_SHAPE', what);

export class Dispatcher {
  readonly #powers: Powers;
  readonly #channel: () => Channel;
  readonly #exchanges = new Map<number, Exchange>();
  #bodyBytes = 0;

  constructor(powers: Powers, channel: () => Channel) {
    this.#powers = powers;
    this.#channel = channel;
  }

  /** What the data edge may bring. Frames of a request that is over cross its end on the way and mean nothing. */
  readonly table: DispatchTable = {
    [dataMessages.requestOpen]: {
      permit: 'always',
      handle: (frame) => {
        this.#open(frame);
      },
    },
    [dataMessages.requestBody]: {
      permit: 'always',
      handle: (frame) => {
        this.#body(frame);
      },
    },
    [dataMessages.requestEnd]: {
      permit: 'always',
      handle: (frame) => {
        this.#end(frame);
      },
    },
    [dataMessages.requestAbort]: {
      permit: 'always',
      handle: (frame) => {
        this.#exchanges.get(frame.stream)?.response.drop();
      },
    },
    [dataMessages.responseCredit]: {
      permit: 'always',
      handle: (frame) => {
        const bytes = parseCredit(frame.payload);
        this.#exchanges.get(frame.stream)?.response.grant(bytes);
        this.#powers.scheduler.nudge();
      },
    },
  };

  /**
   * Cuts every request that is open: nobody gets any more of its answer, and its words are overwritten within a step.
   */
  cut(): void {
    for (const exchange of [...this.#exchanges.values()]) exchange.response.drop();
  }

  #open(frame: Frame): void {
    const open = parseRequestOpen(frame.payload);
    const { stream } = frame;
    if (this.#exchanges.has(stream) || open.bodyLength > this.#powers.bodyBytes)
      throw shapeFault('request.open for a stream that is open, or beyond the limit');
    if (this.#exchanges.size >= deskLimits.exchanges || this.#bodyBytes + open.bodyLength > deskLimits.bodyBytes)
      throw shapeFault('more requests than the gateway may have open');
    this.#bodyBytes += open.bodyLength;
    const response = new Response(this.#channel(), stream, () => {
      this.#forget(exchange);
    });
    const exchange: Exchange = {
      stream,
      open,
      body: plaintextBytes(open.bodyLength),
      filled: 0,
      asked: false,
      response,
      reader: undefined,
      generation: undefined,
    };
    this.#exchanges.set(stream, exchange);
  }

  #body(frame: Frame): void {
    const exchange = this.#exchanges.get(frame.stream);
    if (exchange === undefined) return;
    if (exchange.asked || exchange.filled + frame.payload.length > exchange.body.length)
      throw shapeFault('more body than was declared');
    exchange.body.set(frame.payload, exchange.filled);
    exchange.filled += frame.payload.length;
  }

  #end(frame: Frame): void {
    const exchange = this.#exchanges.get(frame.stream);
    if (exchange === undefined) return;
    if (exchange.asked || exchange.filled !== exchange.body.length) throw shapeFault('less body than was declared');
    exchange.asked = true;
    // What is no answer to the request is a bug and ends the process.
    void this.#answer(exchange).catch((error: unknown) => {
      if (!(error instanceof RequestError)) throw error;
      exchange.response.fail(error);
    });
  }

  /** The answer was sent, or nobody waits for it any more. */
  #forget(exchange: Exchange): void {
    this.#exchanges.delete(exchange.stream);
    this.#bodyBytes -= exchange.open.bodyLength;
    wipeBytes(exchange.body);
    exchange.reader?.[Symbol.dispose]();
    if (exchange.generation !== undefined && !exchange.generation.over) {
      exchange.generation.cancelled = true;
      this.#powers.scheduler.nudge();
    }
  }

  async #answer(exchange: Exchange): Promise<void> {
    const { open, response } = exchange;
    const { model } = this.#powers;
    const entry = { id: model.name, created: model.createdSeconds };
    switch (open.route) {
      case engineRoutes.chatCompletions:
        await this.#chat(exchange);
        return;
      case engineRoutes.responseCreate:
        await this.#respond(exchange);
        return;
      case engineRoutes.modelsList:
        response.begin(200, mediaTypes.json);
        writeModels(response.out, [entry]);
        break;
      case engineRoutes.modelGet:
        if (!this.#serves(open.parameter)) throw unknownModel();
        response.begin(200, mediaTypes.json);
        writeModel(response.out, entry);
        break;
      default:
        try {
          answerConversations(
            this.#powers.keeper,
            { unixSeconds: this.#powers.unixSeconds, model: model.name },
            open,
            exchange.body,
            response,
          );
        } finally {
          wipeBytes(exchange.body);
        }
    }
    response.end();
  }

  #serves(name: string): boolean {
    return name === this.#powers.model.name || name === defaultName;
  }

  #read(body: Buffer): ChatRequest {
    try {
      return parseChatRequest(body);
    } finally {
      wipeBytes(body);
    }
  }

  async #chat(exchange: Exchange): Promise<void> {
    const request = this.#read(exchange.body);
    try {
      if (!this.#serves(request.model)) throw unknownModel();
      const visit = this.#visit(exchange, request);
      const head = {
        id: `chatcmpl-${this.#powers.randomHex(24)}`,
        created: this.#powers.unixSeconds(),
        model: this.#powers.model.name,
      };
      const teller = request.stream
        ? new EventStreamSink(exchange.response, head, request.includeUsage)
        : new JsonSink(exchange.response, (out, content, reason, usage) => {
            writeCompletion(out, head, content, reason, usage);
          });
      await this.#generate(exchange, visit?.messages ?? request.messages, request, visit, teller);
    } finally {
      request[Symbol.dispose]();
    }
  }

  /** `POST /v1/responses`. */
  async #respond(exchange: Exchange): Promise<void> {
    const { keeper, llama, model, unixSeconds, randomHex } = this.#powers;
    let request: ResponseRequest;
    try {
      request = parseResponseRequest(exchange.body);
    } finally {
      wipeBytes(exchange.body);
    }
    try {
      if (!this.#serves(request.model)) throw unknownModel();
      const { instructions: preface, input: fresh, previous, conversation, store } = request;
      // What is not stored can still go on from what was: its words are read, and left as they were.
      const kept = store || previous !== undefined || conversation !== undefined;
      if (kept && !store)
        throw new RequestError(
          'REQUEST_FIELD_RANGE',
          'store must be true where the response goes on from another one or from a conversation',
          'store',
        );
      const visit = kept
        ? Turn.converse(
            keeper,
            exchange.open,
            { wish: previous?.session ?? conversation ?? 'new', fresh, preface, until: previous?.turn },
            unixSeconds,
            llama.contextTokens * answerBytesPerToken,
          )
        : Turn.recognise(keeper, exchange.open, [...preface, ...fresh]);
      const session = kept ? visit?.session.id : undefined;
      const head: ResponseHeadFacts = {
        id: session === undefined || visit === undefined ? `resp_${randomHex(40)}` : responseId(session, visit.turn),
        created: unixSeconds(),
        model: model.name,
        session,
      };
      const answerId = session === undefined || visit === undefined ? randomHex(24) : visit.answerId;
      const teller = new JsonSink(exchange.response, (out, content, reason, usage) => {
        writeResponse(out, head, [{ id: answerId, role: 'assistant', text: content }], reason, usage);
      });
      await this.#generate(
        exchange,
        visit?.messages ?? [...preface, ...fresh],
        { ...request, stop: [] },
        visit,
        teller,
      );
    } finally {
      request[Symbol.dispose]();
    }
  }

  /** Makes the answer to a turn; the visit is over when it is. */
  async #generate(
    exchange: Exchange,
    messages: readonly Message[],
    { sampling, maxTokens, stop }: Pick<ChatRequest, 'sampling' | 'maxTokens' | 'stop'>,
    turn: Turn | undefined,
    teller: ResponseSink,
  ): Promise<void> {
    const { llama, scheduler, vocabulary } = this.#powers;
    let visit = turn;
    try {
      vocabulary.checkSize(
        messages.reduce((sum, { parts }) => sum + parts.reduce((bytes, part) => bytes + part.length, 0), 0),
      );
      const prompt = renderPrompt(this.#powers.template, messages);
      let run: PromptTokens;
      try {
        run = await vocabulary.encode(prompt.pieces);
      } finally {
        prompt[Symbol.dispose]();
      }
      if (exchange.response.closed || visit?.gone === true) {
        run.tokens.fill(0);
        if (visit?.gone === true) throw goneError('ended');
        return;
      }
      exchange.reader = teller;
      const generation = new Generation(
        llama,
        {
          prompt: run,
          sampling,
          seed: sampling.seed ?? this.#powers.randomSeed(),
          maxTokens,
          stop,
          deadline: this.#powers.now() + this.#powers.turnMs,
          ...(visit === undefined ? {} : { stay: visit }),
        },
        visit?.listen(teller) ?? teller,
      );
      exchange.generation = generation;
      if (visit !== undefined) {
        visit.session.abort = () => {
          generation.fail(goneError('ended'));
          scheduler.nudge();
        };
      }
      visit = undefined; // the generation ends it
      scheduler.submit(generation);
    } finally {
      visit?.close();
    }
  }

  /** The conversation that a request is a turn of: one with an id, or one that is recognised. */
  #visit(exchange: Exchange, request: ChatRequest): Turn | undefined {
    const { keeper, unixSeconds, llama } = this.#powers;
    const { session } = exchange.open;
    if (session === '') return Turn.recognise(keeper, exchange.open, request.messages);
    const visit = Turn.converse(
      keeper,
      exchange.open,
      { wish: session, fresh: request.messages },
      unixSeconds,
      llama.contextTokens * answerBytesPerToken,
    );
    exchange.response.session = visit.session.id;
    return visit;
  }
}

/** Renders a conversation, its errors as ones that a client may see. */
function renderPrompt(template: Template, messages: readonly Message[]): Prompt {
  try {
    return template.render(messages, { addGenerationPrompt: true });
  } catch (error) {
    if (error instanceof TemplateError)
      throw new RequestError(error.code as `TEMPLATE_${string}`, error.message, error.parameter);
    throw error;
  }
}

function unknownModel(): RequestError {
  return new RequestError(
    'REQUEST_MODEL_NOT_FOUND',
    'this server does not serve that model; GET /v1/models names the one it does, and "default" always means it',
    'model',
    404,
  );
}
