/**
 * What a machine's facts mean: missing is said, with a reason and a remedy, and nothing unknown is called full.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { examine, exitCodeOf } from '../../../src/cli/doctor/checks.ts';
import type { HostFacts } from '../../../src/cli/doctor/types.ts';
import { renderFindings } from '../../../src/cli/doctor/doctor.ts';
import { bestHost as best } from '../../support/host-facts.ts';

const statusOf = (facts: Partial<HostFacts>, id: string) =>
  examine({ ...best, ...facts }).find((finding) => finding.id === id)?.status;

test('the best machine has everything', () => {
  assert.deepEqual(
    examine(best).filter((finding) => finding.status !== 'full'),
    [],
  );
  assert.equal(exitCodeOf(examine(best)), 0);
  assert.match(renderFindings(examine(best)), /with every protection at full strength$/);
});

const cases: readonly (readonly [string, Partial<HostFacts>, 'less' | 'none'])[] = [
  ['landlock-files', { landlockAbi: 0 }, 'none'],
  ['landlock-truncating', { landlockAbi: 2 }, 'less'],
  ['landlock-ports', { landlockAbi: 3 }, 'less'],
  ['landlock-devices', { landlockAbi: 4 }, 'less'],
  ['landlock-scopes', { landlockAbi: 5 }, 'less'],
  ['seccomp', { seccompActions: undefined }, 'none'],
  ['seccomp', { seccompActions: 'kill_thread errno allow' }, 'none'],
  ['no-new-privs', { noNewPrivs: false }, 'none'],
  ['network-namespace', { uid: 1000, installed: false }, 'less'],
  ['firewall', { installed: false, firewall: undefined }, 'less'],
  ['secret-memory', { secretMemoryFault: 'the kernel refuses it (ENOSYS)' }, 'less'],
  ['swap', { swaps: 'Filename\n/swapfile file 1 0 -2\n' }, 'less'],
  ['swap', { swaps: undefined }, 'less'],
  ['freed-memory', { clearsFreedMemory: false }, 'less'],
  ['freed-memory', { clearsFreedMemory: undefined }, 'less'],
  ['core-pattern', { corePattern: undefined }, 'less'],
  ['core-pattern', { corePattern: '|/usr/lib/systemd/systemd-coredump %P %u\n' }, 'less'],
  ['ptrace-scope', { ptraceScope: '0\n' }, 'less'],
  ['ptrace-scope', { ptraceScope: undefined }, 'less'],
  ['process-list', { hidesProcesses: true }, 'less'],
  ['leases', { leases: '0\n' }, 'less'],
  ['node', { node: { running: 'v26.9.0', pinned: '26.10.0', ownBinary: true } }, 'none'],
  ['node', { node: { running: 'v26.10.0', pinned: '26.10.0', ownBinary: false } }, 'none'],
  ['engine', { engine: { name: 'engine', present: false } }, 'none'],
  ['packages', { treeFault: '1 files differ' }, 'none'],
  ['model.guide', { models: [{ name: 'guide', fault: 'changed' }] }, 'none'],
  ['system', { wsl: true }, 'less'],
];

for (const [id, facts, status] of cases) {
  test(`${id} with ${JSON.stringify(facts)}: ${status}, with a reason and a remedy`, () => {
    const findings = examine({ ...best, ...facts });
    const finding = findings.find((one) => one.id === id);
    assert.equal(finding?.status, status);
    assert.notEqual(finding.reason, '');
    assert.ok(finding.remedy !== '' || id === 'swap');
    assert.equal(exitCodeOf(findings), status === 'none' ? 1 : 0);
  });
}

test('compressed memory is no swap on a disk', () => {
  assert.equal(statusOf({ swaps: 'Filename\n/dev/zram0 partition 1 0 100\n' }, 'swap'), 'full');
});

test('another system: one finding that says what to run on', () => {
  const findings = examine({ ...best, platform: 'darwin', architecture: 'arm64' });
  assert.equal(findings.length, 1);
  assert.equal(findings[0]?.status, 'none');
});
