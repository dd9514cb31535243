/**
 * What the supervisor tells the watchdog of the networks of our processes.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Enforcement } from '../../../src/base/verdict.ts';
import { namespaceOf } from '../../../src/supervisor/intrusion/watch-order.ts';

const network = (status: Enforcement['status']): Enforcement => ({
  feature: 'network-namespace',
  need: 'preferred',
  requested: 'an empty network',
  observed: '',
  status,
  reason: '',
});

test('only root gives each role a network of its own; what a service manager made holds the supervisor too', () => {
  assert.equal(namespaceOf([network('full')], 0), 'own');
  assert.equal(namespaceOf([network('full')], 995), 'shared');
  assert.equal(namespaceOf([network('none')], 0), 'shared');
  assert.equal(namespaceOf([], 0), 'shared');
});
