/**
 * Trying a model's chat template before it is approved: a short conversation is rendered with it, within the same
 * limits as in the engine, so that a template which cannot be served is refused here and not at the first request.
 *
 * Trust: the template may be hostile; it is interpreted by our own evaluator and knows nothing but the words below.
 * Proof: test/unit/cli/template-trial.test.ts, test/attacks/4-content.test.ts
 * @module
 */
import { constantBytes } from '../../base/bytes.ts';
import { KwyreError } from '../../base/errors.ts';
import type { Message, Role } from '../../template/piece.ts';
import type { Specials } from '../../template/template.ts';
import { compileTemplate } from '../../template/template.ts';

const say = (role: Role, text: string): Message => ({ role, parts: [constantBytes(text)] });
const question = 'What is the capital of France?';
const short: readonly Message[] = [say('user', question)];
const long: readonly Message[] = [
  say('system', 'Answer in one word.'),
  ...short,
  say('assistant', 'Paris.'),
  say('user', 'And of Italy?'),
];

/**
 * Renders the trial conversations; gives what a careful reader would ask about.
 * @throws `L4_MODEL_TEMPLATE` when no conversation can be rendered, or when one takes too much.
 */
export function tryTemplate(source: string, specials: Specials): string[] {
  const refuse = (message: string) =>
    new KwyreError(
      'L4_MODEL_TEMPLATE',
      `the chat template of the model cannot be used: ${message}`,
      'use another build of the model, or a newer version of Kwyre',
    );
  try {
    const template = compileTemplate(source, specials);
    const render = (messages: readonly Message[]) => {
      using prompt = template.render(messages, { addGenerationPrompt: true });
      return prompt.pieces.some((piece) => piece.kind === 'text');
    };
    if (!render(short)) throw refuse('it leaves out what the user says');
    try {
      if (!render(long)) throw refuse('it leaves out what the user says');
    } catch (error) {
      if (!(error instanceof KwyreError) || error.code !== 'REQUEST_TEMPLATE_REFUSED') throw error;
      return ['the chat template refuses a conversation of system, user and assistant'];
    }
    return [];
  } catch (error) {
    if (!(error instanceof KwyreError) || error.code === 'L4_MODEL_TEMPLATE') throw error;
    throw refuse(error.message);
  }
}
