/**
 * `POST /v1/chat/completions` and `POST /v1/responses`: turns a complete request into a generation and its response.
 *
 * Promise: every text of a request is overwritten once its prompt has been tokenised. A turn that never starts leaves
 *          its conversation unchanged.
 * Proof:   test/e2e/openai.test.ts, test/e2e/responses.test.ts, test/e2e/sessions.test.ts
 * @module
 */
import { TemplateError } from '../../template/runtime/budget.ts';
import type { Template } from '../../template/template.ts';
import { Generation } from '../inference/generation.ts';
import type { Scheduler } from '../inference/scheduler.ts';
import type { LlamaModel } from '../llama/model.ts';
import type { PromptTokenizer, PromptTokens } from '../llama/prompt-tokenizer.ts';
import { sessionGone } from '../session/session-errors.ts';
import type { SessionStore } from '../session/session-store.ts';
import { Turn } from '../session/turn.ts';
import type { ChatRequest, Message, Prompt, Sampling } from '../types.ts';
import { RequestError } from '../types.ts';
import { parseChatRequest } from './chat-request.ts';
import type { Exchange } from './exchange.ts';
import { writeCompletion } from './response-json.ts';
import type { ResponseSink } from './response-sinks.ts';
import { EventStreamSink, JsonSink } from './response-sinks.ts';
import type { ResponseRequest } from './responses.ts';
import { parseResponseRequest, responseId, writeResponse } from './responses.ts';

export type CompletionsOptions = {
  readonly llama: LlamaModel;
  readonly tokenizer: PromptTokenizer;
  readonly scheduler: Scheduler;
  readonly template: Template;
  readonly sessions: SessionStore;
  readonly model: { readonly name: string; readonly createdSeconds: number };
  /** The time limit of a turn in milliseconds. */
  readonly turnMs: number;
  /** Returns the monotonic time in milliseconds. */
  readonly now: () => number;
  readonly unixSeconds: () => number;
  /** Returns `count` random hexadecimal digits. */
  readonly randomHex: (count: number) => string;
  readonly randomSeed: () => number;
};

/** The alias of the served model. */
const defaultModel = 'default';

/** Bytes that are reserved in a conversation's quota for a completion's text, per token of the context. */
const completionBytesPerToken = 8;

/** A generation to start, and the sink that receives its text. */
type GenerationRequest = {
  readonly messages: readonly Message[];
  readonly sampling: Sampling;
  readonly maxTokens: number | null;
  readonly stop: readonly Buffer[];
  /** The turn of a stored conversation; closed when the generation ends. */
  readonly turn: Turn | undefined;
  readonly sink: ResponseSink;
};

export class Completions {
  readonly #options: CompletionsOptions;

  constructor(options: CompletionsOptions) {
    this.#options = options;
  }

  /** Returns whether this server has a model of that name. */
  serves(name: string): boolean {
    return name === this.#options.model.name || name === defaultModel;
  }

  /** `POST /v1/chat/completions`. @throws RequestError */
  async chat(exchange: Exchange): Promise<void> {
    const request = exchange.parse(parseChatRequest);
    try {
      if (!this.serves(request.model)) throw unknownModel();
      const turn = this.#chatTurn(exchange, request);
      const head = {
        id: `chatcmpl-${this.#options.randomHex(24)}`,
        created: this.#options.unixSeconds(),
        model: this.#options.model.name,
      };
      const { response } = exchange;
      const sink = request.stream
        ? new EventStreamSink(response, head, request.includeUsage)
        : new JsonSink(response, (out, content, reason, usage) => {
            writeCompletion(out, { head, content, reason, usage });
          });
      const { sampling, maxTokens, stop } = request;
      const messages = turn?.messages ?? request.messages;
      await this.#generate(exchange, { messages, sampling, maxTokens, stop, turn, sink });
    } finally {
      request[Symbol.dispose]();
    }
  }

  /** Begins a turn of the conversation named by the header or, without a header, of the one matching the history. */
  #chatTurn(exchange: Exchange, { messages }: ChatRequest): Turn | undefined {
    const { sessions } = this.#options;
    const { session } = exchange.open;
    if (session === '') return Turn.fromHistory(sessions, exchange.open, messages);
    const turn = Turn.inSession(sessions, exchange.open, { session, messages, reserveBytes: this.#reserveBytes });
    exchange.response.session = turn.session.id;
    return turn;
  }

  get #reserveBytes(): number {
    return this.#options.llama.contextTokens * completionBytesPerToken;
  }

  /** `POST /v1/responses`. @throws RequestError */
  async respond(exchange: Exchange): Promise<void> {
    const { model, unixSeconds, randomHex } = this.#options;
    const request = exchange.parse(parseResponseRequest);
    try {
      if (!this.serves(request.model)) throw unknownModel();
      const { turn, stored } = this.#responseTurn(exchange, request);
      const session = stored?.session.id;
      const response = {
        id: stored === undefined ? `resp_${randomHex(40)}` : responseId(stored.session.id, stored.number),
        created: unixSeconds(),
        model: model.name,
        session,
      };
      const itemId = stored === undefined ? randomHex(24) : stored.messageId;
      const sink = new JsonSink(exchange.response, (out, text, reason, usage) => {
        writeResponse(out, { ...response, output: [{ id: itemId, role: 'assistant', text }], reason }, usage);
      });
      const { sampling, maxTokens, instructions, input } = request;
      const messages = turn?.messages ?? [...instructions, ...input];
      await this.#generate(exchange, { messages, sampling, maxTokens, stop: [], turn, sink });
    } finally {
      request[Symbol.dispose]();
    }
  }

  /** Begins the turn for a response. `stored` is the same turn, or `undefined` if the response is not stored. */
  #responseTurn(
    exchange: Exchange,
    { store, previous, conversation, instructions, input }: ResponseRequest,
  ): { turn: Turn | undefined; stored: Turn | undefined } {
    const { sessions } = this.#options;
    if (!store) {
      if (previous !== undefined || conversation !== undefined)
        throw new RequestError(
          'REQUEST_FIELD_RANGE',
          'store must be true if previous_response_id or conversation is given',
          'store',
        );
      return { turn: Turn.fromHistory(sessions, exchange.open, [...instructions, ...input]), stored: undefined };
    }
    const turn = Turn.inSession(sessions, exchange.open, {
      session: previous?.session ?? conversation ?? 'new',
      messages: input,
      preface: instructions,
      after: previous?.turn,
      reserveBytes: this.#reserveBytes,
    });
    return { turn, stored: turn };
  }

  /** Tokenises the prompt and submits the generation. Closes the turn unless the generation takes ownership of it. */
  async #generate(exchange: Exchange, request: GenerationRequest): Promise<void> {
    const { llama, scheduler, now, turnMs, randomSeed } = this.#options;
    const { turn, sink, sampling, maxTokens, stop } = request;
    let unowned = turn;
    try {
      const prompt = await this.#tokenize(request.messages);
      if (exchange.response.ended || turn?.gone === true) {
        prompt.tokens.fill(0);
        if (turn?.gone === true) throw sessionGone('ended');
        return;
      }
      exchange.sink = sink;
      const generation = new Generation(
        llama,
        {
          prompt,
          sampling,
          seed: sampling.seed ?? randomSeed(),
          maxTokens,
          stop,
          deadline: now() + turnMs,
          ...(turn === undefined ? {} : { binding: turn }),
        },
        sink,
      );
      exchange.generation = generation;
      if (turn !== undefined)
        turn.session.abort = () => {
          generation.fail(sessionGone('ended'));
          scheduler.nudge();
        };
      unowned = undefined;
      scheduler.submit(generation);
    } finally {
      unowned?.close();
    }
  }

  async #tokenize(messages: readonly Message[]): Promise<PromptTokens> {
    const { tokenizer, template } = this.#options;
    tokenizer.checkSize(
      messages.reduce((sum, { parts }) => sum + parts.reduce((bytes, part) => bytes + part.length, 0), 0),
    );
    using prompt = renderPrompt(template, messages);
    return await tokenizer.encode(prompt.pieces);
  }
}

/** Renders a conversation. @throws RequestError `TEMPLATE_*` */
function renderPrompt(template: Template, messages: readonly Message[]): Prompt {
  try {
    return template.render(messages, { addGenerationPrompt: true });
  } catch (error) {
    if (error instanceof TemplateError)
      throw new RequestError(error.code as `TEMPLATE_${string}`, error.message, error.parameter);
    throw error;
  }
}

export function unknownModel(): RequestError {
  return new RequestError(
    'REQUEST_MODEL_NOT_FOUND',
    'this server does not have that model; GET /v1/models lists the one it has, and "default" selects it',
    'model',
    404,
  );
}
