/**
 * Fields that would change the completion but are not supported.
 *
 * Promise: such a field is refused by name unless its value has no effect. If it were ignored, the client would get the
 *          response to a different request.
 * Source:  https://platform.openai.com/docs/api-reference/chat/create,
 *          https://platform.openai.com/docs/api-reference/responses
 * Proof:   test/unit/engine/chat-request.test.ts, test/e2e/responses.test.ts
 * @module
 */
import type { Field } from './field.ts';

/** Returns whether a value has no effect. */
export type NoEffect = (field: Field) => boolean;

const never: NoEffect = () => false;
const isFalse: NoEffect = (field) => field.isFalse;
const isEmptyArray: NoEffect = (field) => field.isEmptyArray;
const oneOf =
  (...names: readonly string[]): NoEffect =>
  (field) =>
    names.some((name) => field.equals(name));
const isTextFormat: NoEffect = (field) => field.isObject && field.member('type')?.equals('text') === true;

export const unsupportedChatFields: readonly (readonly [name: string, noEffect: NoEffect])[] = [
  ['tools', isEmptyArray],
  ['functions', isEmptyArray],
  ['tool_choice', oneOf('none', 'auto')],
  ['function_call', oneOf('none', 'auto')],
  ['response_format', isTextFormat],
  ['modalities', (field) => field.isArray && [...field.elements()].every((item) => item.equals('text'))],
  ['logprobs', isFalse],
  ['top_logprobs', (field) => field.isZero],
  ['audio', never],
  ['web_search_options', never],
  // Output constraints and templates that other servers accept.
  ['grammar', never],
  ['json_schema', never],
  ['guided_json', never],
  ['guided_regex', never],
  ['guided_choice', never],
  ['guided_grammar', never],
  ['chat_template', never],
  ['chat_template_kwargs', never],
];

export const unsupportedResponseFields: readonly (readonly [name: string, noEffect: NoEffect])[] = [
  ['stream', isFalse],
  ['background', isFalse],
  ['tools', isEmptyArray],
  ['tool_choice', oneOf('none', 'auto')],
  ['truncation', oneOf('disabled')],
  ['prompt', never],
  [
    'text',
    (field) => {
      const format = field.isObject ? field.member('format') : undefined;
      return format === undefined ? field.isObject : isTextFormat(format);
    },
  ],
];
