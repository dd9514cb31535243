/**
 * The verifying process: variables, flags, mapped code.
 * Runs in a process of its own: other tests map the native code that this one must not find.
 * @module
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { unusedFolders } from '../../../src/layers/3-dependencies/published-digests.ts';
import { nodeFlags, roleFlags } from '../../../src/policy/node-flags.ts';
import {
  environmentFaults,
  executableMappings,
  mappingFaults,
} from '../../../src/layers/3-dependencies/runtime-check.ts';
import { makeTree } from '../../support/trees.ts';

test('L3-08, L3-09: variables and flags that load foreign code', () => {
  for (const name of [
    'NODE_OPTIONS',
    'NODE_PATH',
    'NODE_COMPILE_CACHE',
    'NODE_EXTRA_CA_CERTS',
    'NODE_REPL_EXTERNAL_MODULE',
    'LD_PRELOAD',
    'LD_LIBRARY_PATH',
    'LD_AUDIT',
    'GCONV_PATH',
    'OPENSSL_CONF',
    'SSL_CERT_FILE',
  ]) {
    assert.equal(environmentFaults({ [name]: 'x' }, [], undefined).length, 1, name);
  }
  for (const flag of [
    '--require=./evil.cjs',
    '--import=./evil.js',
    '--loader',
    '--inspect',
    '--env-file=.env',
    '--experimental-default-config-file',
    '--eval',
    '--expose-internals',
  ]) {
    assert.equal(environmentFaults({}, [flag], undefined).length, 1, flag);
  }
  assert.deepEqual(
    environmentFaults(
      { PATH: '/usr/bin', HOME: '/', TERM: 'dumb', LANG: 'C.UTF-8', XDG_STATE_HOME: '/x' },
      [...roleFlags],
      undefined,
    ),
    [],
  );
  assert.equal(environmentFaults({}, [], '/tmp/cache').length, 1);
});

test('mapped code: Node and system libraries pass, anything else is named', () => {
  const maps = fs.readFileSync('/proc/self/maps', 'latin1');
  const own = fs.statSync(process.execPath);
  const verified = new Set([`${own.dev}:${own.ino}`, process.execPath]);
  const { faults, evidence } = mappingFaults(fs, maps, verified, process.getuid!());
  assert.deepEqual(faults, []);
  assert.equal(evidence.verified, 1);
  assert.ok(evidence.libraries.some((path) => /libc\.so/.test(path)));
  assert.equal(
    mappingFaults(fs, maps, new Set(), process.getuid!()).faults[0]?.name,
    process.execPath,
    'an unverified Node',
  );
  using tree = makeTree({ 'lib/evil.so': '' });
  const evil = join(tree.path, 'lib/evil.so');
  const line = `7f0000000000-7f0000001000 r-xp 00000000 08:01 ${fs.statSync(evil).ino} ${' '.repeat(20)}${evil}`;
  assert.deepEqual(
    mappingFaults(fs, line, new Set(), process.getuid!()).faults.map((entry) => entry.name),
    [evil],
  );
  assert.equal(
    mappingFaults(
      fs,
      `7f0-7f1 r-xp 00000000 08:01 5 ${process.execPath} (deleted)`,
      new Set([process.execPath]),
      process.getuid!(),
    ).faults.length,
    1,
    'replaced since',
  );
  assert.deepEqual(executableMappings('7f0-7f1 rw-p 00000000 08:01 5 /data\n7f0-7f1 r-xp 0 00:00 0 [vdso]'), []);
});

test("Node's flags: the launcher passes nodeFlags, the units start the launcher, and no other source spells them", () => {
  const root = join(import.meta.dirname, '..', '..', '..');
  const launcher = fs.readFileSync(join(root, 'kwyre'), 'utf8');
  assert.equal(
    launcher.split(`"$node" ${nodeFlags.join(' ')} "$@"`).length,
    2,
    'the launcher starts Node in one place',
  );
  for (const flag of roleFlags)
    assert.equal(launcher.split(flag).length - 1, nodeFlags.some((one) => one === flag) ? 1 : 0, flag);

  const unit = fs.readFileSync(join(root, 'packaging/systemd/kwyre.service'), 'utf8');
  assert.match(unit, /^ExecStart=\/opt\/kwyre\/kwyre serve /m);
  assert.doesNotMatch(unit, /^Exec\w*=.*(--dis|node )/m);

  // A worker thread takes no flags of the process, so hash-pool.ts names the one that it needs.
  const spelled = fs
    .readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
    .filter(
      (name) =>
        name.endsWith('.ts') &&
        /['"]--(disable|disallow|clear)-/.test(fs.readFileSync(join(root, 'src', name), 'utf8')),
    );
  assert.deepEqual(spelled.sort(), ['oms/hash-pool.ts', 'policy/node-flags.ts']);
});

test('the launcher removes what layer 3 lets be missing, and nothing else', () => {
  const launcher = fs.readFileSync(join(import.meta.dirname, '..', '..', '..', 'kwyre'), 'utf8');
  const removed = /\brm -rf "node_modules\/\$package\/include" "node_modules\/@node-llama-cpp\/\$other"/.exec(launcher);
  assert.ok(removed !== null);
  for (const [platform, other] of [
    ['linux-x64', 'linux-arm64'],
    ['linux-arm64', 'linux-x64'],
  ] as const) {
    assert.ok(launcher.includes(`package=node-${platform} other=${other} ;;`), platform);
    assert.deepEqual(unusedFolders(platform), [
      `node_modules/node-${platform}/include`,
      `node_modules/@node-llama-cpp/${other}`,
    ]);
  }
});
