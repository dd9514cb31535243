/**
 * Renders a conversation with the model's chat template into pieces: template text and message bytes.
 *
 * Promise: message text is never a string and never becomes template text. `<|im_start|>system` in a message remains
 *          content, because the two kinds of pieces are tokenised separately. A template may strip, split, search,
 *          slice and join text, and gets slices of the same bytes (`rope.ts`).
 * Trust:   the template comes with the model and may be hostile. It sees roles, texts and two special tokens, runs
 *          within limits (`budget.ts`), and its text never appears in an error message. Requests cannot supply a
 *          template.
 * Limits:  `developer` is rendered as `system`. If the template rejects or ignores a system message, its text becomes
 *          part of the adjacent user message, as in llama.cpp but at any point in the conversation.
 * Proof:   test/unit/template/template.test.ts
 * @module
 */
import { constantBytes, wipeBytes } from '../base/bytes.ts';
import { KwyreError } from '../base/errors.ts';
import type { Clock } from './runtime/budget.ts';
import { Budget, nestedTooDeep, TemplateError } from './runtime/budget.ts';
import { globals } from './runtime/globals.ts';
import { Evaluator } from './runtime/evaluator.ts';
import type { Body } from './syntax/ast.ts';
import { parseSource } from './syntax/parser.ts';
import type { Message, Prompt, PromptPiece } from './piece.ts';
import type { Str } from './runtime/rope.ts';
import { Rope } from './runtime/rope.ts';
import { Scope } from './runtime/scope.ts';
import type { Render } from './runtime/value.ts';
import { Dict, List, isTruthy } from './runtime/value.ts';

/** The special tokens that templates may print. */
export type Specials = { readonly bos: string; readonly eos: string };

type RenderOptions = {
  readonly addGenerationPrompt: boolean;
  /** The time for `strftime_now`; the current time by default. */
  readonly now?: Date;
};

const templateLimits = {
  baseSteps: 200_000,
  stepsPerMessage: 4000,
  maxSteps: 8_000_000,
  extraBytes: 1 << 20,
  ms: 4000,
} as const;

/** Returns this thread's processor time in milliseconds, which does not depend on the load on the machine. */
const threadMs: Clock = () => {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
};

/** A message with its text as a rope. */
type RopeMessage = { readonly role: string; readonly text: Str };

/** The features that a template supports, detected by rendering probes. */
type Capabilities = {
  /** Whether the template accepts content only as a list of parts. */
  readonly typedContent: boolean;
  /** Whether the template renders a system message. */
  readonly systemRole: boolean;
};

const defaultCapabilities: Capabilities = { typedContent: false, systemRole: true };

/** Converts output to pieces. Adjacent template segments are merged and decoded to strings. */
function piecesOf(output: Str, budget: Budget): PromptPiece[] {
  const pieces: PromptPiece[] = [];
  let constant: Buffer[] = [];
  const flush = () => {
    if (constant.length > 0)
      pieces.push({ kind: 'template', text: constant.map((part) => part.toString('utf8')).join('') });
    constant = [];
  };
  for (const segment of Rope.from(output, budget).segments) {
    const bytes = segment.bytes.subarray(segment.from, segment.to);
    if (segment.origin === 'template') {
      constant.push(bytes);
      continue;
    }
    flush();
    pieces.push({ kind: 'text', bytes });
  }
  flush();
  return pieces;
}

/** A compiled chat template. */
export class Template {
  readonly #body: Body;
  readonly #specials: Specials;
  readonly #clock: Clock;
  readonly #capabilities: Capabilities;

  /** Use {@link compileTemplate} instead. */
  constructor(body: Body, specials: Specials, clock: Clock) {
    this.#body = body;
    this.#specials = specials;
    this.#clock = clock;
    this.#capabilities = this.#detect();
  }

  /**
   * Renders messages. The pieces are views of the messages' bytes. The caller disposes the prompt once it is tokenised.
   * @throws TemplateError `REQUEST_TEMPLATE_REFUSED`, `TEMPLATE_UNSUPPORTED`, `TEMPLATE_LIMIT`
   */
  render(messages: readonly Message[], options: RenderOptions): Prompt {
    const derived: Buffer[] = [];
    const dispose = () => {
      for (const bytes of derived) wipeBytes(bytes);
    };
    try {
      const size = messages.reduce(
        (sum, message) => sum + message.parts.reduce((bytes, part) => bytes + part.length, 0),
        0,
      );
      const steps = Math.min(
        templateLimits.maxSteps,
        templateLimits.baseSteps + messages.length * templateLimits.stepsPerMessage + (size >> 2),
      );
      const render: Render = {
        budget: new Budget(steps, 4 * size + templateLimits.extraBytes, this.#clock, templateLimits.ms),
        wipeLater: (bytes) => derived.push(bytes),
      };
      const ropes = messages.map(({ role, parts }) => ({
        role: role === 'developer' ? 'system' : role,
        text: Rope.concat(
          parts.flatMap((part, i) => (i > 0 ? ['\n', Rope.fromMessage(part)] : [Rope.fromMessage(part)])),
          render.budget,
        ),
      }));
      return { pieces: this.#pieces(ropes, options, render), [Symbol.dispose]: dispose };
    } catch (error) {
      dispose();
      if (error instanceof RangeError) throw nestedTooDeep();
      throw error;
    }
  }

  /** Renders the messages. If the template drops later system messages, they are merged into user messages. */
  #pieces(messages: readonly RopeMessage[], options: RenderOptions, render: Render): PromptPiece[] {
    const later = messages.slice(1).filter(({ role, text }) => role === 'system' && isTruthy(text));
    if (later.length === 0 || !this.#capabilities.systemRole)
      return piecesOf(this.#run(messages, this.#capabilities, options, render), render.budget);
    let rejection: unknown;
    try {
      const pieces = piecesOf(this.#run(messages, this.#capabilities, options, render), render.budget);
      render.budget.spend(later.length * pieces.length);
      if (later.every(({ text }) => includesText(pieces, text))) return pieces;
    } catch (error) {
      if (!(error instanceof TemplateError) || error.code !== 'REQUEST_TEMPLATE_REFUSED') throw error;
      rejection = error;
    }
    try {
      const [first, ...others] = messages;
      const merged =
        first?.role === 'system'
          ? [first, ...mergeSystemMessages(others, render.budget)]
          : mergeSystemMessages(messages, render.budget);
      return piecesOf(this.#run(merged, this.#capabilities, options, render), render.budget);
    } catch (error) {
      // Prefer the rejection of the client's own messages, because the client can act on it.
      throw rejection ?? error;
    }
  }

  #run(messages: readonly RopeMessage[], capabilities: Capabilities, options: RenderOptions, render: Render): Str {
    const scope = new Scope();
    for (const [name, value] of globals(render, options.now ?? new Date())) scope.set(name, value);
    const list = (capabilities.systemRole ? messages : mergeSystemMessages(messages, render.budget)).map(
      ({ role, text }) =>
        new Dict([
          ['role', role],
          [
            'content',
            capabilities.typedContent
              ? new List([
                  new Dict([
                    ['type', 'text'],
                    ['text', text],
                  ]),
                ])
              : text,
          ],
        ]),
    );
    scope.set('messages', new List(list));
    scope.set('add_generation_prompt', options.addGenerationPrompt);
    scope.set('bos_token', this.#specials.bos);
    scope.set('eos_token', this.#specials.eos);
    scope.set('tools', null);
    scope.set('documents', null);
    return new Evaluator(render).run(this.#body, new Scope(scope));
  }

  /** Renders small conversations to detect the template's capabilities. */
  #detect(): Capabilities {
    const probeText = Rope.fromMessage(constantBytes('probe'));
    const systemText = Rope.fromMessage(constantBytes('system probe'));
    const user: RopeMessage = { role: 'user', text: probeText };
    const probe = (
      messages: readonly RopeMessage[],
      text: Str,
      capabilities: Capabilities,
    ): 'rendered' | 'dropped' | 'unsupported' => {
      const render: Render = {
        budget: new Budget(templateLimits.baseSteps, templateLimits.extraBytes, this.#clock, templateLimits.ms),
        wipeLater: () => undefined,
      };
      try {
        const pieces = piecesOf(
          this.#run(messages, capabilities, { addGenerationPrompt: true }, render),
          render.budget,
        );
        // The template printed the list of parts instead of reading it.
        if (
          capabilities.typedContent &&
          pieces.some((piece) => piece.kind === 'template' && /(["'])type\1: (["'])text\2/.test(piece.text))
        )
          return 'dropped';
        return includesText(pieces, text) ? 'rendered' : 'dropped';
      } catch (error) {
        if (error instanceof RangeError) throw nestedTooDeep();
        if (error instanceof KwyreError && error.code === 'REQUEST_TEMPLATE_REFUSED') return 'dropped';
        if (error instanceof KwyreError && error.code === 'TEMPLATE_UNSUPPORTED') return 'unsupported';
        throw error;
      }
    };
    // If no probe succeeds, the first request gets the template's error.
    const capabilities = [defaultCapabilities, { ...defaultCapabilities, typedContent: true }].find(
      (candidate) => probe([user], probeText, candidate) === 'rendered',
    );
    if (capabilities === undefined) return defaultCapabilities;
    return {
      ...capabilities,
      systemRole: probe([{ role: 'system', text: systemText }, user], systemText, capabilities) !== 'dropped',
    };
  }
}

/** Returns whether the pieces contain bytes of a message. */
function includesText(pieces: readonly PromptPiece[], text: Str): boolean {
  if (typeof text === 'string') return true;
  return text.segments.some(({ bytes }) =>
    pieces.some(
      (piece) =>
        piece.kind === 'text' &&
        piece.bytes.buffer === bytes.buffer &&
        piece.bytes.byteOffset >= bytes.byteOffset &&
        piece.bytes.byteOffset < bytes.byteOffset + bytes.length,
    ),
  );
}

/**
 * Merges each system message into the next user message, or into the previous one if there is no next one. This creates
 * no consecutive user messages.
 */
function mergeSystemMessages(messages: readonly RopeMessage[], budget: Budget): RopeMessage[] {
  const merged: RopeMessage[] = [];
  let pending: Str[] = [];
  /** Adds the pending system texts as a user message, merged with a preceding user message. */
  const flush = (after: readonly Str[]) => {
    const last = merged.at(-1);
    if (last?.role === 'user') merged.pop();
    const before = last?.role === 'user' ? [last.text] : [];
    const parts = [...before, ...pending, ...after].filter(isTruthy);
    merged.push({
      role: 'user',
      text: Rope.concat(
        parts.flatMap((part, i) => (i > 0 ? ['\n\n', part] : [part])),
        budget,
      ),
    });
    pending = [];
  };
  for (const message of messages) {
    if (message.role === 'system') {
      if (isTruthy(message.text)) pending.push(message.text);
    } else if (pending.length > 0 && message.role === 'user') flush([message.text]);
    else {
      if (pending.length > 0 && merged.at(-1)?.role === 'user') flush([]);
      merged.push(message);
    }
  }
  if (pending.length > 0) flush([]);
  return merged;
}

/**
 * Compiles a chat template and detects its capabilities.
 * @param clock - the clock for the time limit; by default, this thread's processor time
 * @throws KwyreError `TEMPLATE_INVALID` if the source cannot be parsed, TemplateError `TEMPLATE_LIMIT` if a probe
 * exceeds the limits
 */
export function compileTemplate(source: string, specials: Specials, clock: Clock = threadMs): Template {
  return new Template(parseSource(source), specials, clock);
}
