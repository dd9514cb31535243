/**
 * A permissive filter differs from the role's own in its kills alone.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { finalFilter, startFilter } from '../../../src/layers/2-isolation/jail/seccomp-filters.ts';
import { permissiveFilter, permissiveErrno } from '../../../src/layers/2-isolation/probe/permissive-filter.ts';
import { roles } from '../../../src/policy/roles.ts';

for (const [name, filter] of Object.entries(roles).flatMap(
  ([role, policy]) =>
    [
      [`${role} at its start`, startFilter(policy)],
      [role, finalFilter(policy)],
    ] as const,
)) {
  test(`${name}: every kill becomes an error, and nothing else changes`, () => {
    const soft = permissiveFilter(filter);
    assert.equal(soft.rules.length, filter.rules.length);
    assert.ok(filter.rules.some((rule) => rule.action === 'kill'));
    filter.rules.forEach((rule, index) => {
      assert.deepEqual(
        soft.rules[index],
        rule.action === 'kill' ? { ...rule, action: { errno: permissiveErrno } } : rule,
      );
    });
    assert.deepEqual(soft.otherwise, filter.otherwise);
  });
}

test('no other rule returns that error', () => {
  for (const policy of Object.values(roles))
    for (const { action } of finalFilter(policy).rules)
      assert.ok(typeof action === 'string' || action.errno !== permissiveErrno);
});
