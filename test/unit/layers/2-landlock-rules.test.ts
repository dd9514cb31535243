/**
 * What each Landlock ABI supports, pinned: never more than the kernel has, never less than a server needs to start.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { examine, exitCodeOf } from '../../../src/cli/doctor/checks.ts';
import { accessBits, landlockSupport } from '../../../src/layers/2-isolation/jail/landlock-abi.ts';
import { roles } from '../../../src/policy/roles.ts';
import { bestHost } from '../../support/host-facts.ts';

/** Ubuntu 22.04 has ABI 1 (5.15), Debian 12 ABI 2 (6.1), Ubuntu 24.04 ABI 4 (6.8). */
const pinned: readonly (readonly [abi: number, full: readonly string[]])[] = [
  [0, []],
  [1, ['landlock-files']],
  [2, ['landlock-files']],
  [3, ['landlock-files', 'landlock-truncating']],
  [4, ['landlock-files', 'landlock-truncating', 'landlock-ports']],
  [5, ['landlock-files', 'landlock-truncating', 'landlock-ports', 'landlock-devices']],
  [6, ['landlock-files', 'landlock-truncating', 'landlock-ports', 'landlock-devices', 'landlock-scopes']],
  [7, ['landlock-files', 'landlock-truncating', 'landlock-ports', 'landlock-devices', 'landlock-scopes']],
];

for (const [abi, full] of pinned) {
  test(`ABI ${abi} supports ${full.join(', ') || 'nothing'}`, () => {
    const extents = landlockSupport(abi);
    assert.deepEqual(
      extents.filter(({ status }) => status === 'full').map(({ feature }) => feature),
      full,
    );
    for (const { status, observed, reason } of extents) {
      assert.notEqual(observed, '');
      assert.equal(reason === '', status === 'full', observed);
    }
  });

  test(`ABI ${abi}: a start is ${abi === 0 ? 'refused' : 'possible'}, and doctor reports the same`, () => {
    const missing = landlockSupport(abi).filter(
      ({ feature, status }) => status !== 'full' && roles.engine.features[feature] === 'required',
    );
    assert.equal(missing.length > 0, abi === 0);
    assert.equal(exitCodeOf(examine({ ...bestHost, landlockAbi: abi })), abi === 0 ? 1 : 0);
  });
}

test('the requested bits are those of the kernel header', () => {
  const bitsOf = (abi: number) => {
    const { files, network, scopes } = accessBits(
      landlockSupport(abi)
        .filter(({ status }) => status === 'full')
        .map(({ feature }) => feature),
    );
    return [files, network, scopes];
  };
  // Without REFER (bit 13), which is refused where it is not asked for.
  assert.deepEqual([1, 2, 3, 4, 5, 6, 7].map(bitsOf), [
    [0x1fffn, 0n, 0n],
    [0x1fffn, 0n, 0n],
    [0x5fffn, 0n, 0n],
    [0x5fffn, 3n, 0n],
    [0xdfffn, 3n, 0n],
    [0xdfffn, 3n, 3n],
    [0xdfffn, 3n, 3n],
  ]);
});
