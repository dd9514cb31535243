/**
 * The network check, with interface tables of other machines (L2-15).
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { interfacesOf, networkCheck, onlyLoopback } from '../../../src/layers/2-isolation/network-context.ts';

const table = (...names: string[]) =>
  [
    'Inter-|   Receive |  Transmit',
    ' face |bytes    packets',
    ...names.map((name) => `${name.padStart(6)}: 0 0 0 0`),
  ].join('\n');
const wsl = '5.15.167.4-microsoft-standard-WSL2';

test('interfaces of a table; an empty table does not count as loopback alone', () => {
  assert.deepEqual(interfacesOf(table('lo', 'eth0', 'br-1f')), ['lo', 'eth0', 'br-1f']);
  assert.ok(onlyLoopback(table('lo')));
  for (const devices of ['', table('eth0'), table('lo', 'eth0')]) assert.ok(!onlyLoopback(devices));
});

const cases: readonly (readonly [
  what: string,
  devices: string,
  release: string,
  apart: boolean,
  status: string,
  words: RegExp,
])[] = [
  [
    'a container with the network of its host',
    table('lo', 'eth0', 'docker0', 'veth12ab'),
    '6.8.0',
    false,
    'off',
    /has eth0, docker0, veth12ab; gateway and engine share it/,
  ],
  [
    'the same, started by root',
    table('lo', 'eth0', 'docker0'),
    '6.8.0',
    true,
    'enforced',
    /in empty network namespaces/,
  ],
  ['a container without a network', table('lo'), '6.8.0', false, 'enforced', /no interface but loopback/],
  ['WSL2 that mirrors Windows', table('lo', 'loopback0', 'eth0'), wsl, false, 'off', /mirrors the network of Windows/],
  ['WSL2 with a network of its own', table('lo', 'eth0'), wsl, false, 'off', /forwards the loopback of Windows/],
  ['a table that cannot be read', '', '6.8.0', true, 'off', /cannot read/],
  ['an interface with a hostile name', table('lo', 'e\u001b[31m'), '6.8.0', false, 'off', /has e\?\?31m;/],
];
for (const [what, devices, release, apart, status, words] of cases) {
  test(`${what}: ${status}`, () => {
    const check = networkCheck(devices, release, apart, 0);
    assert.equal(check.status, status);
    assert.match(check.evidence, words);
  });
}
