/**
 * Renders short conversations with a model's chat template before the model is approved, within the limits that the
 * engine applies. A template that cannot be used is thus refused now, not at the first request.
 *
 * Trust: the template may be hostile. Kwyre's own evaluator runs it, and it sees only the text below.
 * Proof: test/unit/cli/template-trial.test.ts, test/attacks/4-content.test.ts
 * @module
 */
import { constantBytes } from '../../base/bytes.ts';
import { KwyreError } from '../../base/errors.ts';
import type { Message, Role } from '../../template/piece.ts';
import type { Specials } from '../../template/template.ts';
import { compileTemplate } from '../../template/template.ts';

const message = (role: Role, text: string): Message => ({ role, parts: [constantBytes(text)] });
const question = 'What is the capital of France?';
const short: readonly Message[] = [message('user', question)];
const long: readonly Message[] = [
  message('system', 'Answer in one word.'),
  ...short,
  message('assistant', 'Paris.'),
  message('user', 'And of Italy?'),
];

/**
 * Renders the conversations.
 * @returns findings about anything unusual in the template
 * @throws `L4_MODEL_TEMPLATE` if no conversation can be rendered, or one exceeds a limit
 */
export function tryTemplate(source: string, specials: Specials): string[] {
  const refuse = (reason: string) =>
    new KwyreError(
      'L4_MODEL_TEMPLATE',
      `the chat template of the model cannot be used: ${reason}`,
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
