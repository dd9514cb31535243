/**
 * Plans of installation and removal: missing parts are planned, present ones kept, foreign ones refused.
 * @module
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { planRules } from '../../../src/layers/2-isolation/install/firewall.ts';
import type { Installed } from '../../../src/layers/2-isolation/install/install-record.ts';
import { formatInstalled, parseInstalled, places } from '../../../src/layers/2-isolation/install/install-record.ts';
import type { MachineState } from '../../../src/layers/2-isolation/install/install-input.ts';
import type { InstallRequest } from '../../../src/layers/2-isolation/install/install-steps.ts';
import { planInstall } from '../../../src/layers/2-isolation/install/install-steps.ts';
import { planRemove } from '../../../src/layers/2-isolation/install/removal-steps.ts';
import { tools } from '../../../src/layers/2-isolation/install/install-input.ts';
import type { UnitName } from '../../../src/layers/2-isolation/install/systemd-units.ts';
import {
  enabledLinks,
  renderUnits,
  unitFolder,
  unitNames,
} from '../../../src/layers/2-isolation/install/systemd-units.ts';

const packaged = Object.fromEntries(
  unitNames.map((name) => [
    name,
    readFileSync(join(import.meta.dirname, '..', '..', '..', 'packaging', 'systemd', name), 'utf8'),
  ]),
) as Record<UnitName, string>;
const firewall = { kind: 'nft', nft: '/usr/sbin/nft' } as const;
const person = { uid: 1000, gid: 1000 };
const wish: InstallRequest = {
  port: 8000,
  person,
  access: { token: 'kw-secret\n', header: 'h', presence: 'p', tokens: 't' },
};
const bare: MachineState = {
  record: undefined,
  tools: Object.fromEntries([...tools, 'nologin'].map((name) => [name, `/usr/bin/${name}`])) as MachineState['tools'],
  firewall,
  account: { state: 'absent' },
  freeId: 999,
  rules: 'absent',
  rulesAsRecorded: false,
  files: new Map(),
  folders: new Set(),
  packaged,
  root: '/home/ada/kwyre',
  programCurrent: false,
  stateFit: false,
  accessFit: false,
  booted: true,
  active: false,
};
const record: Installed = {
  version: 1,
  complete: true,
  uid: 999,
  gid: 999,
  port: 8000,
  firewall,
  person,
  copied: true,
  witness: [{ command: { argv: ['/usr/sbin/nft'] }, shown: 'x' }],
};
const { files, load } = planRules(firewall, { uid: 999, port: 8000 });
const units = renderUnits(packaged, 8000, load);
const full: MachineState = {
  ...bare,
  record,
  account: { state: 'fit', uid: 999, gid: 999 },
  rules: 'own',
  rulesAsRecorded: true,
  programCurrent: true,
  stateFit: true,
  accessFit: true,
  active: true,
  files: new Map([
    ...files.map(({ path, text }) => [path, text] as const),
    ...unitNames.map((name) => [`${unitFolder}/${name}`, units[name]] as const),
    ...enabledLinks.map((link) => [link, ''] as const),
  ]),
  folders: new Set([places.program, places.state, places.access, `${places.access}/1000`]),
};
const ids = (facts: MachineState, asked = wish) => planInstall(facts, asked).steps.map((step) => step.id);

test('C7 a bare machine gets every step, the record first and the rules before the server', () => {
  assert.deepEqual(ids(bare), ['record', 'account', 'rules', 'program', 'state', 'access', 'units', 'boot', 'start']);
});

test('C7 present parts are kept, and missing ones restored', () => {
  assert.deepEqual(ids(full), []);
  assert.deepEqual(ids({ ...full, rules: 'absent', rulesAsRecorded: false }), ['record', 'rules', 'start']);
  assert.deepEqual(ids({ ...full, account: { state: 'absent' } }), ['record', 'account']);
  assert.deepEqual(ids(full, { ...wish, port: 9000 }), ['record', 'rules', 'access', 'units', 'start']);
  assert.deepEqual(ids({ ...full, record: { ...record, complete: false } }), ['record', 'access']);
});

test('C7 objects with our names but no record are refused, and so are foreign rules', () => {
  const foreign: Readonly<Record<string, MachineState>> = {
    rules: { ...bare, rules: 'foreign' },
    'rules like ours': { ...bare, rules: 'own' },
    user: { ...bare, account: { state: 'fit', uid: 999, gid: 999 } },
    unit: { ...bare, files: new Map([[`${unitFolder}/kwyre.service`, '']]) },
    program: { ...bare, folders: new Set([places.program]) },
    'rules later': { ...full, rules: 'foreign' },
    'another user': { ...full, account: { state: 'fit', uid: 998, gid: 998 } },
  };
  for (const [what, facts] of Object.entries(foreign))
    assert.throws(() => planInstall(facts, wish), { code: 'L2_ISOLATE_FOREIGN' }, what);
  assert.throws(() => planInstall({ ...bare, account: { state: 'unfit', why: 'it has a shell' } }, wish), {
    code: 'L2_ISOLATE_ACCOUNT',
  });
  assert.throws(() => planRemove({ ...full, rules: 'foreign' }), { code: 'L2_ISOLATE_FOREIGN' });
  assert.deepEqual(planRemove(bare), []);
});

test('C7 removal stops the server first, keeps the rules until the user is gone, and removes the record last', () => {
  assert.deepEqual(
    planRemove(full).map((step) => step.id),
    ['stop', 'boot', 'units', 'account', 'rules', 'folders', 'record'],
  );
});

test('C7 the record is parsed strictly', () => {
  assert.deepEqual(parseInstalled(formatInstalled(record)), record);
  for (const wrong of [
    '',
    '[]',
    '{}',
    JSON.stringify({ ...record, uid: 0 }),
    JSON.stringify({ ...record, firewall: { kind: 'nft', nft: 'nft; reboot' } }),
    JSON.stringify({ ...record, person: {} }),
  ]) {
    assert.throws(() => parseInstalled(wrong), { code: 'L2_ISOLATE_RECORD' });
  }
});
