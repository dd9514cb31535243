/**
 * Windows and macOS: the commands, which cannot run here.
 * @module
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { planWindowsRule, unsupportedPlatforms } from '../../../src/layers/2-isolation/install/other-platforms.ts';

const where = {
  systemRoot: 'C:\\Windows',
  script: 'C:\\Kwyre\\packaging\\windows\\firewall.ps1',
  program: 'C:\\Kwyre\\node.exe',
};
const script = readFileSync(
  join(import.meta.dirname, '..', '..', '..', 'packaging', 'windows', 'firewall.ps1'),
  'utf8',
);

test('C8 PowerShell runs by absolute path with a file and separate arguments: no argument is parsed as code', () => {
  for (const action of ['install', 'status', 'remove'] as const) {
    const { argv } = planWindowsRule(action, where);
    assert.equal(argv[0], 'C:\\Windows\\System32\\WindowsPowerShell\\v1.0\\powershell.exe');
    assert.deepEqual(argv.slice(argv.indexOf('-File')), [
      '-File',
      where.script,
      '-Action',
      action,
      '-Program',
      where.program,
    ]);
    assert.ok(!argv.some((word) => /^-(c|command|e|ec|encodedcommand)$/i.test(word)));
  }
});

test('C8 a path with special characters stays one argument; a path outside a local drive is refused', () => {
  const program = "C:\\a'; Remove-Item x; $(evil) `b\\node.exe";
  assert.equal(planWindowsRule('install', { ...where, program }).argv.at(-1), program);
  for (const wrong of [
    'node.exe',
    '\\\\server\\share\\node.exe',
    '\\\\?\\C:\\node.exe',
    'C:\\a\\..\\node.exe',
    'C:\\a"b\\node.exe',
    'C:\\node.exe\n',
    'C:\\*',
    'C:\\a:b',
    '',
  ]) {
    assert.throws(() => planWindowsRule('install', { ...where, program: wrong }), { code: 'L2_ISOLATE_PATH' }, wrong);
  }
});

test('C8 the script blocks outbound traffic of the program in every profile, and evaluates no strings', () => {
  assert.match(
    script,
    /New-NetFirewallRule .*-Direction Outbound -Action Block -Program \$Program -Profile Any -Enabled True/,
  );
  assert.doesNotMatch(script, /Invoke-Expression|\biex\b|Start-Process|& \$|ScriptBlock/i);
});

test('L2-14 on macOS the layer is off, with the reason', () => {
  assert.match(unsupportedPlatforms.darwin ?? '', /layer is off/);
});
