/**
 * `/v1/responses` at a real engine: one after another, from an earlier one, in a conversation, unstored, deleted.
 * @module
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { join } from 'node:path';
import { engineRoutes } from '../../src/wire/messages.ts';
import type { Ask, EngineProcess } from '../support/engine.ts';
import { served } from '../support/engine.ts';

type Answer = {
  id: string;
  object: string;
  status: string;
  store: boolean;
  conversation: { id: string } | null;
  output: { id: string; role: string; content: { type: string; text: string }[] }[];
  usage: { input_tokens: number; input_tokens_details: { cached_tokens: number }; output_tokens: number } | null;
  data: { id: string; role: string; content: { text: string }[] }[];
  error?: { code: string; param: string | null };
};

const guide = join(import.meta.dirname, '..', '..', 'models', 'guide', 'guide.gguf');
const alice = Buffer.alloc(16, 1);

async function ask(engine: EngineProcess, what: Ask): Promise<{ status: number; json: Answer }> {
  const { status, text } = await engine.ask({ principal: alice, ...what }).answer;
  return { status, json: JSON.parse(text) as Answer };
}

const respond = (engine: EngineProcess, body: Record<string, unknown>, more: Ask = {}) =>
  ask(engine, {
    route: engineRoutes.responseCreate,
    body: { model: 'test', temperature: 0, max_output_tokens: 12, ...body },
    ...more,
  });
const textOf = (answer: Answer) => answer.output[0]!.content[0]!.text;
const itemsOf = async (engine: EngineProcess, id: string) =>
  (await ask(engine, { route: engineRoutes.itemsList, parameter: id })).json.data.map(
    ({ role, content }) => `${role}: ${content[0]!.text}`,
  );

describe('stored responses', () => {
  test('one goes on from another and computes only what is new; each is told again under its id', async () => {
    await served({ model: guide }, async (engine) => {
      const first = (await respond(engine, { input: 'What does layer 5 do?', instructions: 'Be brief.' })).json;
      assert.match(first.id, /^resp_[0-9a-f]{40}$/);
      assert.deepEqual(
        [first.object, first.store, first.output[0]!.role, first.output[0]!.content[0]!.type],
        ['response', true, 'assistant', 'output_text'],
      );
      assert.equal(first.usage!.output_tokens > 0, true);
      const plain = (
        await respond(engine, {
          input: [{ type: 'message', role: 'user', content: [{ type: 'input_text', text: 'And layer 1?' }] }],
        })
      ).json;
      const second = (await respond(engine, { input: 'And layer 2?', previous_response_id: plain.id })).json;
      assert.ok(second.usage!.input_tokens_details.cached_tokens >= plain.usage!.input_tokens);
      for (const answer of [first, plain, second]) {
        const again = (await ask(engine, { route: engineRoutes.responseGet, parameter: answer.id })).json;
        assert.deepEqual(again.output, answer.output);
      }
      assert.deepEqual(await itemsOf(engine, second.conversation!.id), [
        'user: And layer 1?',
        `assistant: ${textOf(plain)}`,
        'user: And layer 2?',
        `assistant: ${textOf(second)}`,
      ]);
      assert.deepEqual(
        await itemsOf(engine, first.conversation!.id),
        ['user: What does layer 5 do?', `assistant: ${textOf(first)}`],
        'instructions are for one turn',
      );
    });
  });

  test('from an earlier one another conversation begins; the former stays as it is', async () => {
    await served({ model: guide }, async (engine) => {
      const first = (await respond(engine, { input: 'one' })).json;
      const second = (await respond(engine, { input: 'two', previous_response_id: first.id })).json;
      const other = (await respond(engine, { input: 'three', previous_response_id: first.id })).json;
      assert.equal(second.conversation!.id, first.conversation!.id);
      assert.notEqual(other.conversation!.id, first.conversation!.id);
      assert.deepEqual(await itemsOf(engine, other.conversation!.id), [
        'user: one',
        `assistant: ${textOf(first)}`,
        'user: three',
        `assistant: ${textOf(other)}`,
      ]);
      assert.equal((await itemsOf(engine, first.conversation!.id)).length, 4);
    });
  });

  test('in a conversation, deleted one by one, and not stored at all', async () => {
    await served({ model: guide }, async (engine) => {
      const { id } = (await ask(engine, { route: engineRoutes.conversationCreate, body: {} })).json;
      const first = (await respond(engine, { input: 'one', conversation: id })).json;
      const second = (await respond(engine, { input: 'two', conversation: { id } })).json;
      assert.equal(second.conversation!.id, id);
      assert.equal((await ask(engine, { route: engineRoutes.responseDelete, parameter: first.id })).status, 200);
      assert.deepEqual(await itemsOf(engine, id), ['user: two', `assistant: ${textOf(second)}`]);
      for (const route of [engineRoutes.responseGet, engineRoutes.responseDelete] as const)
        assert.equal((await ask(engine, { route, parameter: first.id })).status, 404);
      assert.equal((await respond(engine, { input: 'x', previous_response_id: first.id })).status, 404);
      assert.equal((await ask(engine, { route: engineRoutes.responseDelete, parameter: second.id })).status, 200);
      assert.equal(
        (await ask(engine, { route: engineRoutes.conversationGet, parameter: id })).status,
        404,
        'nothing is left of it',
      );
      const unstored = (await respond(engine, { input: 'one', store: false })).json;
      assert.deepEqual([unstored.store, unstored.conversation], [false, null]);
      assert.equal((await ask(engine, { route: engineRoutes.responseGet, parameter: unstored.id })).status, 404);
    });
  });

  test('a foreign response is an unknown one, and what is not there yet is refused by name', async () => {
    await served({ model: guide }, async (engine) => {
      const first = (await respond(engine, { input: 'one' })).json;
      const bob = { principal: Buffer.alloc(16, 2) };
      const unknown = await respond(engine, { input: 'x', previous_response_id: `resp_${'0'.repeat(40)}` }, bob);
      assert.deepEqual(await respond(engine, { input: 'x', previous_response_id: first.id }, bob), unknown);
      assert.equal(unknown.status, 404);
      for (const route of [engineRoutes.responseGet, engineRoutes.responseDelete] as const)
        assert.equal((await ask(engine, { route, parameter: first.id, ...bob })).status, 404);
      for (const wrong of [
        { stream: true },
        { background: true },
        { tools: [{ type: 'web_search' }] },
        { text: { format: { type: 'json_schema' } } },
        { max_output_tokens: 0 },
        { input: 7 },
        { input: [{ role: 'user', content: [{ type: 'input_image' }] }] },
      ]) {
        const { status, json } = await respond(engine, { input: 'x', ...wrong });
        assert.deepEqual([status, json.error?.param?.split(/[.[]/)[0]], [400, Object.keys(wrong)[0]]);
      }
    });
  });
});
