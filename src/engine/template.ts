/**
 * Renders a conversation with the model's own chat template into pieces: text of the template, bytes of the messages.
 *
 * Promise: a message's text is never a string and never becomes template text: `<|im_start|>system` in a message stays
 *          content, since the pieces of the two kinds are tokenised apart. A template may trim, split, search, cut and
 *          join text; it gets slices of the same bytes (rope.ts).
 * Trust:   the template is the model's and may be hostile: it sees roles, texts and the model's two special tokens, runs
 *          within limits (jinja.ts), and its words never reach an error. No part of it comes from a request.
 * Limits:  `developer` is rendered as `system`. A template that refuses or forgets a system message gets it as the
 *          beginning of the first user message instead, as llama.cpp does.
 * Proof:   test/unit/engine/template.test.ts
 * @module
 */
import { constantBytes, wipeBytes } from '../base/bytes.ts';
import { KwyreError } from '../base/errors.ts';
import { globals } from './globals.ts';
import { Evaluator, Scope } from './jinja.ts';
import type { Statement } from './node.ts';
import { parseSource } from './node.ts';
import type { Message, Prompt, PromptPiece } from './request.ts';
import { RequestError } from './request.ts';
import type { Str } from './rope.ts';
import { Budget, Rope } from './rope.ts';
import type { Render } from './value.ts';
import { Dict, isText, List, truth } from './value.ts';

/** The model's special tokens that templates print. */
export type Specials = { readonly bos: string; readonly eos: string };

export type RenderOptions = {
  readonly addGenerationPrompt: boolean;
  /** The moment that `strftime_now` writes; now by default. */
  readonly now?: Date;
};

const templateLimits = { baseSteps: 200_000, stepsPerMessage: 4000, maxSteps: 4_000_000, extraBytes: 1 << 20 } as const;

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
function piecesOf(output: Str): PromptPiece[] {
  const pieces: PromptPiece[] = [];
  let constant: Buffer[] = [];
  const flush = () => {
    if (constant.length > 0) pieces.push({ kind: 'template', text: constant.map((part) => part.toString('utf8')).join('') });
    constant = [];
  };
  for (const segment of Rope.from(output).segments) {
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
  readonly #body: readonly Statement[];
  readonly #specials: Specials;
  readonly #habits: Habits;

  /** Use {@link compileTemplate}. */
  constructor(body: readonly Statement[], specials: Specials) {
    this.#body = body;
    this.#specials = specials;
    this.#habits = this.#probe();
  }

  /**
   * Renders messages. The pieces point into the messages' bytes; dispose the prompt when it is tokenised.
   * @throws RequestError `REQUEST_TEMPLATE_REFUSED`, `TEMPLATE_UNSUPPORTED`, `TEMPLATE_LIMIT`.
   */
  render(messages: readonly Message[], options: RenderOptions): Prompt {
    const owned: Buffer[] = [];
    const dispose = () => {
      for (const bytes of owned) wipeBytes(bytes);
    };
    try {
      const size = messages.reduce((sum, message) => sum + message.parts.reduce((bytes, part) => bytes + part.length, 0), 0);
      const steps = Math.min(templateLimits.maxSteps, templateLimits.baseSteps + messages.length * templateLimits.stepsPerMessage + (size >> 3));
      const render: Render = { budget: new Budget(steps, 4 * size + templateLimits.extraBytes), own: (bytes) => owned.push(bytes) };
      const turns = messages.map(({ role, parts }) => ({
        role: role === 'developer' ? 'system' : role,
        text: Rope.concat(parts.flatMap((part, i) => (i > 0 ? ['\n', Rope.ofText(part)] : [Rope.ofText(part)])), render.budget),
      }));
      return { pieces: piecesOf(this.#run(turns, this.#habits, options, render)), [Symbol.dispose]: dispose };
    } catch (error) {
      dispose();
      if (error instanceof RangeError) throw new RequestError('TEMPLATE_LIMIT', "the model's chat template is nested too deep");
      throw error;
    }
  }

  #run(turns: readonly Turn[], habits: Habits, options: RenderOptions, render: Render): Str {
    const scope = new Scope();
    for (const [name, value] of globals(render, options.now ?? new Date())) scope.set(name, value);
    const list = (habits.systemRole ? turns : mergeSystem(turns, render.budget)).map(
      ({ role, text }) => new Dict([['role', role], ['content', habits.typedContent ? new List([new Dict([['type', 'text'], ['text', text]])]) : text]]),
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
      const wanted = isText(text) && typeof text !== 'string' ? text.segments[0]?.bytes.buffer : undefined;
      const render: Render = { budget: new Budget(templateLimits.maxSteps, templateLimits.extraBytes), own: () => undefined };
      try {
        const output = this.#run(turns, habits, { addGenerationPrompt: true }, render);
        const pieces = piecesOf(output);
        // A list of parts that is printed as JSON was not understood.
        if (habits.typedContent && pieces.some((piece) => piece.kind === 'template' && piece.text.includes('"type": "text"'))) return 'hidden';
        return pieces.some((piece) => piece.kind === 'text' && piece.bytes.buffer === wanted) ? 'shown' : 'hidden';
      } catch (error) {
        if (error instanceof KwyreError && error.code === 'REQUEST_TEMPLATE_REFUSED') return 'hidden';
        if (error instanceof KwyreError && error.code === 'TEMPLATE_UNSUPPORTED') return 'unsupported';
        throw error;
      }
    };
    // Where nothing is learned, the first request gets the template's own error.
    const habits = [usual, { ...usual, typedContent: true }].find((candidate) => look([user], probeText, candidate) === 'shown');
    if (habits === undefined) return usual;
    return { ...habits, systemRole: look([{ role: 'system', text: systemText }, user], systemText, habits) !== 'hidden' };
  }
}

/** Puts the text of system messages in front of the user message that follows. */
function mergeSystem(turns: readonly Turn[], budget: Budget): Turn[] {
  const merged: Turn[] = [];
  let waiting: Str[] = [];
  for (const turn of turns) {
    if (turn.role === 'system') {
      if (truth(turn.text)) waiting.push(turn.text, '\n\n');
    } else if (turn.role === 'user' && waiting.length > 0) {
      merged.push({ role: 'user', text: Rope.concat([...waiting, turn.text], budget) });
      waiting = [];
    } else merged.push(turn);
  }
  if (waiting.length > 0) merged.push({ role: 'user', text: Rope.concat(waiting.slice(0, -1), budget) });
  return merged;
}

/**
 * Prepares a model's chat template.
 * @throws KwyreError `TEMPLATE_INVALID` when its source cannot be read; RequestError `TEMPLATE_LIMIT` when it runs away.
 */
export function compileTemplate(source: string, specials: Specials): Template {
  return new Template(parseSource(source), specials);
}
