/**
 * Handles the frames on the data edge: collects a request's body, routes the request and sends its response.
 *
 * Promise: a body is overwritten as soon as it is parsed. A frame that the gateway is not allowed to send at that point
 *          is a breach.
 * Proof:   test/e2e/engine.test.ts
 * @module
 */
import type { Channel, DispatchTable } from '../../wire/channel.ts';
import { mediaTypes, parseCredit, parseRequestOpen } from '../../wire/data-payloads.ts';
import type { Frame } from '../../wire/frame.ts';
import { dataMessages, engineRoutes } from '../../wire/messages.ts';
import { RequestError } from '../types.ts';
import type { CompletionsOptions } from './completions.ts';
import { Completions, unknownModel } from './completions.ts';
import { handleConversation } from './conversations.ts';
import { Exchange, protocolError } from './exchange.ts';
import { writeModel, writeModels } from './response-json.ts';
import { Response } from './response.ts';

/** The dispatcher's dependencies. */
type DispatcherOptions = CompletionsOptions & {
  /** Returns the data edge; called only after frames have arrived. */
  readonly channel: () => Channel;
  /** Maximum request body size, in bytes. */
  readonly bodyBytes: number;
};

/** Limits on the number of open requests and on their total declared body size: twice the gateway's limits. */
const exchangeLimits = { count: 256, bodyBytes: 256 << 20 } as const;

export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #completions: Completions;
  /** Open requests by their stream. */
  readonly #exchanges = new Map<number, Exchange>();
  #bodyBytes = 0;

  constructor(options: DispatcherOptions) {
    this.#options = options;
    this.#completions = new Completions(options);
  }

  /** Handlers for the frames on the data edge. Frames for a request that has ended may still arrive and are ignored. */
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
        this.#exchanges.get(frame.stream)?.receive(frame.payload);
      },
    },
    [dataMessages.requestEnd]: {
      permit: 'always',
      handle: (frame) => {
        this.#complete(frame);
      },
    },
    [dataMessages.requestAbort]: {
      permit: 'always',
      handle: (frame) => {
        this.#exchanges.get(frame.stream)?.response.close();
      },
    },
    [dataMessages.responseCredit]: {
      permit: 'always',
      handle: (frame) => {
        const bytes = parseCredit(frame.payload);
        this.#exchanges.get(frame.stream)?.response.addCredit(bytes);
        this.#options.scheduler.nudge();
      },
    },
  };

  /** Drops every open request. No more response bytes are sent, and all text is overwritten within one step. */
  abortAll(): void {
    for (const exchange of [...this.#exchanges.values()]) exchange.response.close();
  }

  #open({ stream, payload }: Frame): void {
    const open = parseRequestOpen(payload);
    if (this.#exchanges.has(stream)) throw protocolError('this stream is already open');
    if (open.bodyLength > this.#options.bodyBytes) throw protocolError('the declared body is too large');
    if (this.#exchanges.size >= exchangeLimits.count || this.#bodyBytes + open.bodyLength > exchangeLimits.bodyBytes)
      throw protocolError('too many open requests');
    this.#bodyBytes += open.bodyLength;
    const response = new Response(this.#options.channel(), stream, () => {
      this.#close(stream, exchange);
    });
    const exchange = new Exchange(open, response);
    this.#exchanges.set(stream, exchange);
  }

  #complete({ stream }: Frame): void {
    const exchange = this.#exchanges.get(stream);
    if (exchange === undefined) return;
    exchange.complete();
    // Any other error is a bug and ends the process.
    void this.#route(exchange).catch((error: unknown) => {
      if (!(error instanceof RequestError)) throw error;
      exchange.response.fail(error);
    });
  }

  /** Removes a request whose response was sent or whose client has disconnected. */
  #close(stream: number, exchange: Exchange): void {
    this.#exchanges.delete(stream);
    this.#bodyBytes -= exchange.open.bodyLength;
    if (exchange.dispose()) this.#options.scheduler.nudge();
  }

  async #route(exchange: Exchange): Promise<void> {
    const { open, response } = exchange;
    const { model, sessions } = this.#options;
    const entry = { id: model.name, created: model.createdSeconds };
    switch (open.route) {
      case engineRoutes.chatCompletions:
        await this.#completions.chat(exchange);
        return;
      case engineRoutes.responseCreate:
        await this.#completions.respond(exchange);
        return;
      case engineRoutes.modelsList:
        response.begin(200, mediaTypes.json);
        writeModels(response.out, [entry]);
        break;
      case engineRoutes.modelGet:
        if (!this.#completions.serves(open.parameter)) throw unknownModel();
        response.begin(200, mediaTypes.json);
        writeModel(response.out, entry);
        break;
      default:
        exchange.parse((body) => {
          handleConversation({ sessions, model: model.name, open, body, response });
        });
    }
    response.end();
  }
}
