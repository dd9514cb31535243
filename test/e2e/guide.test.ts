/**
 * The embedded guide: the share of free wordings, written apart from the training patterns, that are answered right.
 * @module
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { call, root, startServer } from '../support/server.ts';

type Question = { readonly q: string; readonly facts: readonly string[] };

const folder = join(root, 'models', 'guide', 'eval');
const answers = JSON.parse(readFileSync(join(folder, 'answers.json'), 'utf8')) as Record<string, string>;
const offTopic = 'offtopic';

/**
 * The shares that the model has, less a small margin for another processor's arithmetic; see models/guide/README.md.
 */
const floors = { on: 0.6, off: 0.5 } as const;

test('the guide answers free wordings right, on topic and off', async (t) => {
  const server = await startServer();
  try {
    for (const file of ['questions.json', 'questions-blind.json']) {
      const questions = JSON.parse(readFileSync(join(folder, file), 'utf8')) as Question[];
      const right = { on: 0, off: 0 };
      const asked = { on: 0, off: 0 };
      for (let at = 0; at < questions.length; at += 4) {
        await Promise.all(
          questions.slice(at, at + 4).map(async ({ q, facts }) => {
            const response = await call(server, '/v1/chat/completions', {
              model: 'guide',
              temperature: 0,
              max_tokens: 120,
              messages: [{ role: 'user', content: q }],
            });
            const body = (await response.json()) as { choices: { message: { content: string } }[] };
            const kind = facts.includes(offTopic) ? 'off' : 'on';
            asked[kind] += 1;
            if (facts.some((fact) => answers[fact] === body.choices[0]?.message.content)) right[kind] += 1;
          }),
        );
      }
      t.diagnostic(`${file}: on topic ${right.on} of ${asked.on}, off topic ${right.off} of ${asked.off}`);
      assert.ok(right.on / asked.on >= floors.on, 'on topic');
      assert.ok(right.off / asked.off >= floors.off, 'off topic');
    }
  } finally {
    await server.stop();
  }
});
