/**
 * The required features of each role and the watchdog's capabilities, written a second time.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Policy } from '../../../src/policy/role-policy.ts';
import { requiredOf, roles } from '../../../src/policy/roles.ts';
import type { Role } from '../../../src/policy/roles.ts';
import { capabilitiesOfSupervisor } from '../../../src/policy/supervisor-rights.ts';

const always = [
  'no-new-privs',
  'core-limit',
  'file-size-limit',
  'open-files-limit',
  'capabilities',
  'seccomp-start',
  'seccomp-seal',
  'not-dumpable',
  'dies-with-supervisor',
];
const preferred = [
  'process-limit',
  'own-user',
  'network-namespace',
  'landlock-truncating',
  'landlock-ports',
  'landlock-devices',
  'landlock-scopes',
];

for (const [role, policy] of Object.entries<Policy>(roles) as [Role, Policy][]) {
  test(`the required and the preferred features of the ${role}`, () => {
    const landlocked = role === 'watchdog' ? [] : ['landlock-files'];
    assert.deepEqual(requiredOf(role).sort(), [...always, ...landlocked].sort());
    assert.deepEqual(Object.keys(policy.features).sort(), [...always, ...preferred, 'landlock-files'].sort());
    assert.deepEqual(
      (policy.without ?? []).map(([feature]) => feature).sort(),
      role === 'watchdog'
        ? ['landlock-devices', 'landlock-files', 'landlock-ports', 'landlock-scopes', 'landlock-truncating']
        : [],
    );
    assert.deepEqual(
      (policy.capabilities ?? []).map(([number]) => number),
      role === 'watchdog' ? [2, 19] : [],
    );
  });
}

test('every allowed call states how it could affect other processes', () => {
  for (const policy of Object.values<Policy>(roles)) {
    for (const [call, reason, others] of policy.calls) assert.ok(reason !== '' && others.length > 6, call);
    for (const row of policy.conditions) if (row.action === 'allow') assert.ok(row.others.length > 6, row.call);
  }
  assert.deepEqual(
    capabilitiesOfSupervisor.map(([number]) => number),
    [0, 1, 2, 3, 5, 6, 7, 8, 10, 14, 19, 21, 24, 28],
  );
});
