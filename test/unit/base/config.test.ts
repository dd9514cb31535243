import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parseServe } from '../../../src/base/config.ts';
import { version } from '../../../src/base/version.ts';

test('L1-14 no flag of serve sets another address', () => {
  for (const flag of ['--host', '--bind', '--listen', '--address', '--interface', '--allow-non-loopback', '--unsafe']) {
    assert.throws(() => parseServe([flag, '0.0.0.0']), { code: 'USAGE_FLAG_UNKNOWN' });
    assert.throws(() => parseServe([`${flag}=0.0.0.0`]), { code: 'USAGE_FLAG_UNKNOWN' });
  }
  assert.throws(() => parseServe(['0.0.0.0:8000']), { code: 'USAGE_FLAG_UNKNOWN' });
  for (const port of ['0.0.0.0:80', '-1', '65536', '1e3', '', ' 80'])
    assert.throws(() => parseServe(['--port', port]), { code: /^USAGE_FLAG_/ });
});

test('numbers out of range are usage errors with exit code 2', () => {
  assert.throws(() => parseServe(['--parallel', '0']), { code: 'USAGE_FLAG_RANGE', exitCode: 2 });
  assert.deepEqual(parseServe(['--accept-weaker=landlock-files', '--accept-weaker=network-namespace']).accepted, [
    'landlock-files',
    'network-namespace',
  ]);
  assert.equal(parseServe([]).port, 8000);
});

test('the version is that of package.json', () => {
  assert.equal(
    (JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as { version: string })
      .version,
    version,
  );
});
