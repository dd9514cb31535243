/**
 * Which signals stay ignored.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ignoreAgain, ignoredIn } from '../../../src/linux/ignored-signals.ts';

test("the kernel's mask names the signals that are ignored, and anything else names none", () => {
  assert.deepEqual([...ignoredIn('0000000000000001')], ['SIGHUP']);
  assert.deepEqual([...ignoredIn('0000000000004007')], ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM']);
  assert.deepEqual([...ignoredIn('0000000000080000')], ['SIGTSTP']);
  for (const none of [undefined, '', '0', '0000000001000000', 'x', '-1', '1'.repeat(17), '0x1'])
    assert.equal(ignoredIn(none).size, 0);
});

test('what is ignored gets a listener that does nothing, and nothing else gets one', () => {
  const listened: string[] = [];
  ignoreAgain({ env: { KWYRE_IGNORED_SIGNALS: '0000000000000003' }, on: (signal) => listened.push(signal) });
  assert.deepEqual(listened, ['SIGHUP', 'SIGINT']);
});
