/** Conversations as `status` and the chat count them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { countEntries, describeConversations, describeSeconds } from '../../../src/cli/sessions.ts';

test('kinds are told apart by their ids, and the longest time counts', () => {
  const counted = countEntries([
    { id: 'conv_1', left_s: 3600 },
    { id: 'cont_2', left_s: 599 },
    { id: 'conv_3', left_s: 7 },
  ]);
  assert.deepEqual(counted, { kept: 2, continued: 1, longest_left_s: 3600 });
  assert.equal(
    describeConversations(counted),
    'conversations: 2 with an id, 1 recognised by their history; all are wiped within 60 min unless they are used',
  );
  assert.equal(describeConversations(countEntries([])), 'conversations: none');
  assert.deepEqual([59, 119, 120, 599].map(describeSeconds), ['59 s', '119 s', '2 min', '9 min']);
});
