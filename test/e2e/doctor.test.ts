/**
 * `kwyre doctor` on this machine: it agrees with what a server then gets, needs none, and leaves nothing.
 * @module
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { appendFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Finding } from '../../src/cli/doctor/types.ts';
import { landlockFeatures } from '../../src/layers/2-isolation/jail/landlock-abi.ts';
import { copyInstallation } from '../support/copy.ts';
import { asOrdinary } from '../support/identity.ts';
import { starters } from '../support/probe.ts';
import { call, root, startServer } from '../support/server.ts';

function doctor(
  repository: string,
  args: readonly string[],
  uid?: number,
): { code: number | null; stdout: string; stderr: string } {
  const [file = '', ...rest] = asOrdinary(uid, [join(repository, 'kwyre'), 'doctor', ...args]);
  const { status, stdout, stderr } = spawnSync(file, rest, {
    cwd: '/',
    env: { PATH: process.env['PATH'], HOME: '/' },
    encoding: 'utf8',
    timeout: 60_000,
  });
  return { code: status, stdout, stderr };
}

for (const { who, uid } of starters) {
  test(`what the doctor says to ${who} is what a server of theirs gets`, async () => {
    const { code, stdout, stderr } = doctor(root, ['--json'], uid);
    assert.equal(stderr, '');
    const { exitCode, findings } = JSON.parse(stdout) as { exitCode: number; findings: Finding[] };
    assert.equal(code, 0, stdout);
    assert.equal(exitCode, 0);
    const statusOf = (id: string) => findings.find((finding) => finding.id === id)?.status;
    const server = await startServer(uid === undefined ? {} : { uid });
    const { layers } = (await (await call(server, '/kwyre/status')).json()) as {
      layers: { layer: number; checks: { id: string; status: string }[] }[];
    };
    await server.stop();
    const check = (id: string) => layers.flatMap((layer) => layer.checks).find((one) => one.id === id)?.status;
    for (const feature of Object.keys(landlockFeatures))
      assert.equal(statusOf(feature) === 'full', check(`engine.${feature}`) === 'enforced', feature);
    assert.equal(statusOf('network-namespace') === 'full', check('engine.network-namespace') === 'enforced');
    assert.equal(statusOf('seccomp'), 'full');
    assert.equal(check('engine.seccomp-seal'), 'enforced');
    assert.equal(statusOf('packages'), 'full');
    assert.equal(statusOf('model.guide'), 'full');
  });
}

test('for people: a reason under every line, a next step where there is one, and a verdict', () => {
  const { code, stdout } = doctor(root, []);
  assert.equal(code, 0);
  assert.match(stdout, /^the machine\n {2}\[ok\] 64-bit Linux\n/);
  assert.match(stdout, /layer 2 {2}process network isolation\n/);
  assert.match(stdout, /\na server can start here[^\n]*\n$/);
});

test('a changed package and a changed model are named, with 1', () => {
  using copy = copyInstallation(true);
  spawnSync(join(copy.path, 'kwyre'), ['--version'], { cwd: '/' });
  appendFileSync(join(copy.path, 'node_modules/koffi/index.js'), '\n');
  rmSync(join(copy.path, 'models/guide/guide.gguf'));
  const { code, stdout } = doctor(copy.path, ['--json']);
  assert.equal(code, 1);
  const missing = (JSON.parse(stdout) as { findings: Finding[] }).findings
    .filter((finding) => finding.status === 'none')
    .map((finding) => finding.id);
  assert.deepEqual(missing, ['packages', 'model.guide']);
});

test('unknown flags are refused', () => {
  assert.equal(doctor(root, ['--fix']).code, 2);
});
