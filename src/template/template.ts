/**
 * Renders a conversation with the model's own chat template into pieces: text of the template, bytes of the messages.
 *
 * Promise: a message's text is never a string and never becomes template text: `<|im_start|>system` in a message stays
 *          content, since the pieces of the two kinds are tokenised apart. A template may trim, split, search, cut and
 *          join text; it gets slices of the same bytes (rope.ts).
 * Trust:   the template is the model's and may be hostile: it sees roles, texts and the model's two special tokens,
 *          runs within limits (evaluator.ts), and its words never reach an error. No part of it comes from a request.
 * Limits:  `developer` is rendered as `system`. A template that refuses or forgets a system message gets it as part of
 *          the user message beside it instead, at the beginning as llama.cpp does, and in the middle too.
 * Proof:   test/unit/template/template.test.ts
 * @module
 */
import { constantBytes, wipeBytes } from '../base/bytes.ts';
import { KwyreError } from '../base/errors.ts';
import type { Clock } from './runtime/budget.ts';
import { Budget, TemplateError } from './runtime/budget.ts';
import { globals } from './runtime/globals.ts';
import { Evaluator } from './runtime/evaluator.ts';
import type { Body } from './syntax/ast.ts';
import { parseSource } from './syntax/parser.ts';
import type { Message, Prompt, PromptPiece } from './piece.ts';
import type { Str } from './runtime/rope.ts';
import { Rope } from './runtime/rope.ts';
import { Scope } from './runtime/scope.ts';
import type { Render } from './runtime/value.ts';
import { Dict, List, truth } from './runtime/value.ts';

/** The model's special tokens that templates print. */
export type Specials = { readonly bos: string; readonly eos: string };

export type RenderOptions = {
  readonly addGenerationPrompt: boolean;
  /** The moment that `strftime_now` writes; now by default. */
  readonly now?: Date;
};

const templateLimits = {
  baseSteps: 200_000,
  stepsPerMessage: 4000,
  maxSteps: 8_000_000,
  extraBytes: 1 << 20,
  ms: 4000,
} as const;

/** Processor time of this thread, in milliseconds: a machine that is busy with others does not make it longer. */
const threadMs: Clock = () => {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
};

/** A message on its way into a template. */
type Turn = { readonly role: string; readonly text: Str };

/** How this template wants its messages, found out by trying. */
type Habits = {
  /** It takes content only as a list of parts. */
  readonly typedContent: boolean;
  /** It has a place for a system message. */
  readonly systemRole: boolean;
};

const usual: Habits = { typedContent: false, systemRole: true };

/** Pieces side by side of one kind become one; the template's bytes become text again. */
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

/** A model's chat template, ready to render. */
export class Template {
  readonly #body: Body;
  readonly #specials: Specials;
  readonly #clock: Clock;
  readonly #habits: Habits;

  /** Use {@link compileTemplate}. */
  constructor(body: Body, specials: Specials, clock: Clock) {
    this.#body = body;
    this.#specials = specials;
    this.#clock = clock;
    this.#habits = this.#probe();
  }

  /**
   * Renders messages. The pieces point into the messages' bytes; dispose the prompt when it is tokenised.
   * @throws TemplateError `REQUEST_TEMPLATE_REFUSED`, `TEMPLATE_UNSUPPORTED`, `TEMPLATE_LIMIT`.
   */
  render(messages: readonly Message[], options: RenderOptions): Prompt {
    const owned: Buffer[] = [];
    const dispose = () => {
      for (const bytes of owned) wipeBytes(bytes);
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
        own: (bytes) => owned.push(bytes),
      };
      const turns = messages.map(({ role, parts }) => ({
        role: role === 'developer' ? 'system' : role,
        text: Rope.concat(
          parts.flatMap((part, i) => (i > 0 ? ['\n', Rope.ofText(part)] : [Rope.ofText(part)])),
          render.budget,
        ),
      }));
      return { pieces: this.#pieces(turns, options, render), [Symbol.dispose]: dispose };
    } catch (error) {
      dispose();
      if (error instanceof RangeError)
        throw new TemplateError('TEMPLATE_LIMIT', "the model's chat template is nested too deep");
      throw error;
    }
  }

  /**
   * Renders; system messages behind the first message become part of a user message where the template refuses or
   * forgets them.
   */
  #pieces(turns: readonly Turn[], options: RenderOptions, render: Render): PromptPiece[] {
    const later = turns.slice(1).filter(({ role, text }) => role === 'system' && truth(text));
    if (later.length === 0 || !this.#habits.systemRole)
      return piecesOf(this.#run(turns, this.#habits, options, render), render.budget);
    let refusal: unknown;
    try {
      const pieces = piecesOf(this.#run(turns, this.#habits, options, render), render.budget);
      render.budget.spend(later.length * pieces.length);
      if (later.every(({ text }) => shows(pieces, text))) return pieces;
    } catch (error) {
      if (!(error instanceof TemplateError) || error.code !== 'REQUEST_TEMPLATE_REFUSED') throw error;
      refusal = error;
    }
    try {
      const [first, ...others] = turns;
      const merged =
        first?.role === 'system' ? [first, ...mergeSystem(others, render.budget)] : mergeSystem(turns, render.budget);
      return piecesOf(this.#run(merged, this.#habits, options, render), render.budget);
    } catch (error) {
      // What the template says of the messages as they came is what the client can act on.
      throw refusal ?? error;
    }
  }

  #run(turns: readonly Turn[], habits: Habits, options: RenderOptions, render: Render): Str {
    const scope = new Scope();
    for (const [name, value] of globals(render, options.now ?? new Date())) scope.set(name, value);
    const list = (habits.systemRole ? turns : mergeSystem(turns, render.budget)).map(
      ({ role, text }) =>
        new Dict([
          ['role', role],
          [
            'content',
            habits.typedContent
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

  /** Tries small conversations to learn what the template takes. */
  #probe(): Habits {
    const probeText = Rope.ofText(constantBytes('probe'));
    const systemText = Rope.ofText(constantBytes('system probe'));
    const user: Turn = { role: 'user', text: probeText };
    const look = (turns: readonly Turn[], text: Str, habits: Habits): 'shown' | 'hidden' | 'unsupported' => {
      const render: Render = {
        budget: new Budget(templateLimits.baseSteps, templateLimits.extraBytes, this.#clock, templateLimits.ms),
        own: () => undefined,
      };
      try {
        const pieces = piecesOf(this.#run(turns, habits, { addGenerationPrompt: true }, render), render.budget);
        // A list of parts that is printed as it is was not understood.
        if (
          habits.typedContent &&
          pieces.some((piece) => piece.kind === 'template' && /(["'])type\1: (["'])text\2/.test(piece.text))
        )
          return 'hidden';
        return shows(pieces, text) ? 'shown' : 'hidden';
      } catch (error) {
        if (error instanceof RangeError)
          throw new TemplateError('TEMPLATE_LIMIT', "the model's chat template is nested too deep");
        if (error instanceof KwyreError && error.code === 'REQUEST_TEMPLATE_REFUSED') return 'hidden';
        if (error instanceof KwyreError && error.code === 'TEMPLATE_UNSUPPORTED') return 'unsupported';
        throw error;
      }
    };
    // Where nothing is learned, the first request gets the template's own error.
    const habits = [usual, { ...usual, typedContent: true }].find(
      (candidate) => look([user], probeText, candidate) === 'shown',
    );
    if (habits === undefined) return usual;
    return {
      ...habits,
      systemRole: look([{ role: 'system', text: systemText }, user], systemText, habits) !== 'hidden',
    };
  }
}

/** Whether a piece of a message is among the pieces. */
function shows(pieces: readonly PromptPiece[], text: Str): boolean {
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
 * Puts the text of system messages in front of the user message that follows, or behind the one before; never two user
 * messages in a row.
 */
function mergeSystem(turns: readonly Turn[], budget: Budget): Turn[] {
  const merged: Turn[] = [];
  let waiting: Str[] = [];
  /** Says what waits as the user, together with what the user said just before. */
  const say = (after: readonly Str[]) => {
    const last = merged.at(-1);
    if (last?.role === 'user') merged.pop();
    const before = last?.role === 'user' ? [last.text] : [];
    const parts = [...before, ...waiting, ...after].filter(truth);
    merged.push({
      role: 'user',
      text: Rope.concat(
        parts.flatMap((part, i) => (i > 0 ? ['\n\n', part] : [part])),
        budget,
      ),
    });
    waiting = [];
  };
  for (const turn of turns) {
    if (turn.role === 'system') {
      if (truth(turn.text)) waiting.push(turn.text);
    } else if (waiting.length > 0 && turn.role === 'user') say([turn.text]);
    else {
      if (waiting.length > 0 && merged.at(-1)?.role === 'user') say([]);
      merged.push(turn);
    }
  }
  if (waiting.length > 0) say([]);
  return merged;
}

/**
 * Prepares a model's chat template.
 * @param clock - for the bound on time; processor time of this thread by default.
 * @throws KwyreError `TEMPLATE_INVALID` when its source cannot be read; TemplateError `TEMPLATE_LIMIT` when it runs
 * away.
 */
export function compileTemplate(source: string, specials: Specials, clock: Clock = threadMs): Template {
  return new Template(parseSource(source), specials, clock);
}
