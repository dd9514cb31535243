/**
 * What the engine does with the frames of the data edge: collects a body, answers it, forgets it.
 *
 * Promise: a body lives in one buffer of its own that is overwritten as soon as it was read; a frame that the gateway
 *          may not send at this point is a breach.
 * Proof:   test/e2e/engine.test.ts
 * @module
 */
import { ownBytes, wipeBytes } from '../base/bytes.ts';
import { KwyreError } from '../base/errors.ts';
import type { Channel, DispatchTable } from '../wire/channel.ts';
import type { Frame } from '../wire/frame.ts';
import { dataMessages, engineRoutes, mediaTypes, parseCredit, parseRequestOpen } from '../wire/messages.ts';
import type { RequestOpen } from '../wire/messages.ts';
import { Response, StreamReader, WholeReader } from './answer.ts';
import { Generation } from './generation.ts';
import type { Llama } from './llama.ts';
import { parseChatRequest } from './openai.ts';
import type { ChatRequest } from './request.ts';
import { RequestError } from './request.ts';
import type { Scheduler } from './scheduler.ts';
import type { Template } from './template.ts';
import { encodePrompt } from './vocabulary.ts';
import { writeModel, writeModels } from './writer.ts';

/** What the answers are made with. */
export type Powers = {
  readonly llama: Llama;
  readonly scheduler: Scheduler;
  readonly template: Template;
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

type Exchange = { readonly open: RequestOpen; readonly body: Buffer; filled: number; readonly response: Response; generation: Generation | undefined; reader: WholeReader | undefined };

export class Desk {
  readonly #powers: Powers;
  readonly #channel: () => Channel;
  readonly #exchanges = new Map<number, Exchange>();

  constructor(powers: Powers, channel: () => Channel) {
    this.#powers = powers;
    this.#channel = channel;
  }

  /** What the data edge may bring. */
  readonly table: DispatchTable = {
    [dataMessages.requestOpen]: { permit: 'always', answer: (frame) => this.#open(frame) },
    [dataMessages.requestBody]: { permit: 'always', answer: (frame) => this.#body(frame) },
    [dataMessages.requestEnd]: { permit: 'always', answer: (frame) => this.#end(frame) },
    [dataMessages.requestAbort]: { permit: 'always', answer: (frame) => this.#abort(frame) },
    [dataMessages.responseCredit]: {
      permit: 'always',
      answer: (frame) => {
        // Credit for an answer that has just ended crosses its end on the way.
        this.#exchanges.get(frame.stream)?.response.grant(parseCredit(frame.payload));
        this.#powers.scheduler.nudge();
      },
    },
  };

  #open(frame: Frame): void {
    const open = parseRequestOpen(frame.payload);
    if (this.#exchanges.has(frame.stream) || open.bodyLength > this.#powers.bodyBytes) throw new KwyreError('WIRE_MESSAGE_SHAPE', 'request.open for a stream that is open, or beyond the limit');
    this.#exchanges.set(frame.stream, { open, body: ownBytes(open.bodyLength), filled: 0, response: new Response(this.#channel(), frame.stream), generation: undefined, reader: undefined });
  }

  #body(frame: Frame): void {
    const exchange = this.#exchanges.get(frame.stream);
    if (exchange === undefined) return; // answered already, as with an early error
    if (exchange.filled + frame.payload.length > exchange.body.length) throw new KwyreError('WIRE_MESSAGE_SHAPE', 'more body than was declared');
    exchange.body.set(frame.payload, exchange.filled);
    exchange.filled += frame.payload.length;
  }

  #end(frame: Frame): void {
    const exchange = this.#exchanges.get(frame.stream);
    if (exchange === undefined) return;
    if (exchange.filled !== exchange.body.length) throw new KwyreError('WIRE_MESSAGE_SHAPE', 'less body than was declared');
    try {
      this.#answer(exchange, frame.stream);
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      exchange.response.fail(error);
      this.#exchanges.delete(frame.stream);
    } finally {
      wipeBytes(exchange.body);
    }
  }

  #abort(frame: Frame): void {
    const exchange = this.#exchanges.get(frame.stream);
    if (exchange === undefined) return;
    this.#exchanges.delete(frame.stream);
    wipeBytes(exchange.body);
    exchange.response.drop();
    exchange.reader?.[Symbol.dispose]();
    if (exchange.generation !== undefined) exchange.generation.cancelled = true;
    this.#powers.scheduler.nudge();
  }

  #answer(exchange: Exchange, stream: number): void {
    const { open, response } = exchange;
    const { model } = this.#powers;
    const entry = { id: model.name, created: model.createdSeconds };
    switch (open.route) {
      case engineRoutes.chatCompletions: {
        this.#chat(exchange, stream);
        return;
      }
      case engineRoutes.modelsList: {
        response.begin(200, mediaTypes.json);
        writeModels(response.out, [entry]);
        break;
      }
      case engineRoutes.modelGet: {
        if (open.parameter !== model.name) throw unknownModel();
        response.begin(200, mediaTypes.json);
        writeModel(response.out, entry);
        break;
      }
    }
    response.end();
    this.#exchanges.delete(stream);
  }

  #chat(exchange: Exchange, stream: number): void {
    const { llama, scheduler, model } = this.#powers;
    const request: ChatRequest = parseChatRequest(exchange.body);
    try {
      if (request.model !== model.name && request.model !== defaultName) throw unknownModel();
      if (scheduler.full) throw new RequestError('ENGINE_BUSY', 'every conversation is taken and the queue is full', null, 503);
      const prompt = this.#powers.template.render(request.messages, { addGenerationPrompt: true });
      try {
        const run = encodePrompt(llama, prompt.pieces);
        const room = llama.contextTokens - run.length;
        const head = { id: `chatcmpl-${this.#powers.randomHex(24)}`, created: this.#powers.unixSeconds(), model: model.name };
        const whole = request.stream ? undefined : new WholeReader(exchange.response, head);
        const inner = whole ?? new StreamReader(exchange.response, head, request.includeUsage);
        const done = () => this.#exchanges.delete(stream);
        exchange.reader = whole;
        exchange.generation = new Generation(
          llama,
          run,
          llama.makeSampler(request.sampling, request.sampling.seed ?? this.#powers.randomSeed()),
          Math.min(request.maxTokens ?? room, room),
          request.stop,
          this.#powers.now() + this.#powers.turnMs,
          {
            content: (bytes) => {
              inner.content(bytes);
            },
            finish: (reason, usage) => {
              inner.finish(reason, usage);
              done();
            },
            fail: (error) => {
              inner.fail(error);
              done();
            },
            behind: () => inner.behind(),
          },
        );
        scheduler.submit(exchange.generation);
      } finally {
        prompt[Symbol.dispose]();
      }
    } finally {
      request[Symbol.dispose]();
    }
  }
}

function unknownModel(): RequestError {
  return new RequestError('REQUEST_MODEL_NOT_FOUND', 'this server does not serve that model; GET /v1/models names the one it does, and "default" always means it', 'model', 404);
}
