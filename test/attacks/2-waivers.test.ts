/**
 * Layer 2: what an operator gives up is named and degrades the layer for the whole run (L2-10); what carries the
 * promise cannot be waived, and a missing feature refuses the start unless it was waived.
 * @module
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { copyInstallation } from '../support/copy.ts';
import { call, launch, startServer } from '../support/server.ts';
import { editCode } from '../support/find-code.ts';

type Layers = {
  layers: { layer: number; status: string; checks: { id: string; status: string; evidence: string }[] }[];
};

test('a waiver is named in the status, and layer 2 is degraded', async () => {
  const server = await startServer({ args: ['--accept-weaker=landlock-files'] });
  try {
    const { layers } = (await (await call(server, '/kwyre/status')).json()) as Layers;
    const layer = layers.find((one) => one.layer === 2)!;
    assert.equal(layer.status, 'degraded');
    const check = layer.checks.find(({ id }) => id === 'waived.landlock-files');
    assert.equal(check?.status, 'degraded');
    assert.match(check.evidence, /--accept-weaker=landlock-files/);
    assert.equal(
      layer.checks.find(({ id }) => id === 'engine.landlock-files')?.status,
      'enforced',
      'what the kernel has is put on all the same',
    );
  } finally {
    await server.stop();
  }
});

for (const [name, said] of [
  ['seccomp-seal', /cannot waive seccomp-seal/],
  ['no-new-privs', /cannot waive no-new-privs/],
  ['model', /cannot waive model/],
  ['landlock', /names an unknown feature\n.*own-user, .*landlock-files/s],
] as const) {
  test(`--accept-weaker=${name} is refused with 2, and nothing starts`, async () => {
    const started = launch({ args: [`--accept-weaker=${name}`] });
    assert.equal((await started.ended).code, 2, started.output());
    assert.match(started.output(), said);
  });
}

/** A copy that believes that its kernel has this Landlock. */
function withLandlock(abi: number): ReturnType<typeof copyInstallation> {
  const copy = copyInstallation(true);
  const path = join(copy.path, 'src/linux/landlock.ts');
  const head = 'export function landlockAbi(): number {';
  editCode(path, head, `${head} return ${abi};`);
  return copy;
}

test('on a kernel without Landlock the start is refused, unless exactly that is waived', async () => {
  using copy = withLandlock(0);
  const refused = launch({ repository: copy.path });
  assert.equal((await refused.ended).code, 12, refused.output());
  assert.match(
    refused.output(),
    /landlock-files: this kernel has no Landlock[^\n]*\n.*--accept-weaker=landlock-files/s,
  );
  const server = await startServer({ repository: copy.path, args: ['--accept-weaker=landlock-files'] });
  try {
    const { layers } = (await (await call(server, '/kwyre/status')).json()) as Layers;
    const layer = layers.find((one) => one.layer === 2)!;
    assert.equal(layer.status, 'degraded');
    assert.equal(layer.checks.find(({ id }) => id === 'gateway.landlock-files')?.status, 'off');
    assert.ok(layer.checks.some(({ id }) => id === 'waived.landlock-files'));
  } finally {
    await server.stop();
  }
});

test('on a kernel with the Landlock of Linux 5.15 a server starts, and says which parts are missing', async () => {
  using copy = withLandlock(1);
  const server = await startServer({ repository: copy.path });
  try {
    const { layers } = (await (await call(server, '/kwyre/status')).json()) as Layers;
    const { checks } = layers.find((one) => one.layer === 2)!;
    for (const role of ['gateway', 'engine']) {
      assert.equal(checks.find(({ id }) => id === `${role}.landlock-files`)?.status, 'enforced');
      for (const part of ['truncating', 'ports', 'devices', 'scopes']) {
        const check = checks.find(({ id }) => id === `${role}.landlock-${part}`);
        assert.equal(check?.status, 'off');
        assert.match(check.evidence, /needs ABI \d \(Linux 6\.\d+\)/);
      }
    }
    assert.equal(
      (
        await call(server, '/v1/chat/completions', {
          model: 'guide',
          max_tokens: 2,
          messages: [{ role: 'user', content: 'hello' }],
        })
      ).status,
      200,
    );
  } finally {
    await server.stop();
  }
});
