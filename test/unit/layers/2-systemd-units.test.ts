/**
 * The systemd units: what is replaced in them, and what they must contain.
 * @module
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { UnitName } from '../../../src/layers/2-isolation/install/systemd-units.ts';
import { renderUnits, unitCommands, unitNames } from '../../../src/layers/2-isolation/install/systemd-units.ts';

const folder = join(import.meta.dirname, '..', '..', '..', 'packaging', 'systemd');
const packaged = Object.fromEntries(
  unitNames.map((name) => [name, readFileSync(join(folder, name), 'utf8')]),
) as Record<UnitName, string>;

test('C7 port and commands are replaced, and nothing else', () => {
  const load = [
    { argv: ['/usr/sbin/iptables', '-D', 'OUTPUT'], mayFail: true as const },
    { argv: ['/usr/sbin/iptables-restore', '/etc/kwyre/firewall.v4'] },
  ];
  const units = renderUnits(packaged, 9000, load);
  assert.equal(units['kwyre.socket'], packaged['kwyre.socket'].replace('127.0.0.1:8000', '127.0.0.1:9000'));
  assert.equal(units['kwyre.service'], packaged['kwyre.service']);
  assert.deepEqual(unitCommands(units['kwyre-firewall.service']), load);
  assert.throws(() => renderUnits(packaged, 9000, [{ argv: ['/bin/a', 'b c'] }]), /BUG/);
  assert.throws(() => renderUnits({ ...packaged, 'kwyre.socket': 'ListenStream=0.0.0.0:8000\n' }, 9000, load), /BUG/);
});

test('C3 the socket unit has one address, 127.0.0.1', () => {
  assert.deepEqual(
    [...packaged['kwyre.socket'].matchAll(/^Listen\w+=(.*)$/gm)].map(([, value]) => value),
    ['127.0.0.1:8000'],
  );
});

test('C6 C16 the service has its user, an empty network, no swap, and starts after its rules', () => {
  for (const line of [
    'User=kwyre',
    'PrivateNetwork=yes',
    'MemorySwapMax=0',
    'LimitCORE=0',
    'NoNewPrivileges=yes',
    'CapabilityBoundingSet=',
    'Requires=kwyre.socket kwyre-firewall.service',
    'After=kwyre.socket kwyre-firewall.service',
  ]) {
    assert.ok(packaged['kwyre.service'].split('\n').includes(line), line);
  }
  assert.match(packaged['kwyre.service'], /^RestartPreventExitStatus=.*\b16$/m);
});

test('C6 systemd rates the exposure of the service at 0.5 or less', () => {
  const ran = spawnSync(
    'systemd-analyze',
    ['security', '--offline=true', '--no-pager', '--threshold=5', join(folder, 'kwyre.service')],
    { encoding: 'utf8', timeout: 30_000 },
  );
  assert.equal(ran.error, undefined, 'systemd-analyze is in the package systemd');
  const exposure = /Overall exposure level for kwyre\.service: ([\d.]+)/.exec(ran.stdout)?.[1];
  assert.ok(Number(exposure) <= 0.5, `${exposure ?? 'nothing'} ${ran.stderr}`);
  assert.equal(ran.status, 0);
});
