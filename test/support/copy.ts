/**
 * A copy of everything that runs, to be attacked: its own Node starts, verifies itself and only then loads third-party
 * code.
 * @module
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { asOrdinary } from './identity.ts';
import { root } from './server.ts';

export type Copy = {
  readonly path: string;
  /** Starts the copy; `between` is code that runs after the verification and before the first third-party module. */
  start(options?: {
    between?: string;
    env?: Readonly<Record<string, string>>;
    flags?: readonly string[];
    uid?: number;
  }): { code: number | null; output: string };
  [Symbol.dispose](): void;
};

/** Without a model nothing is served: what gets past layer 3 is refused by layer 4. */
export function copyInstallation(withModel = false): Copy {
  const path = mkdtempSync(join(tmpdir(), 'kwyre-copy-'));
  chmodSync(path, 0o755);
  for (const name of [
    'kwyre',
    'package.json',
    'package-lock.json',
    '.npmrc',
    'node_modules',
    'src',
    'dist',
    'page',
    ...(withModel ? ['models'] : []),
  ]) {
    if (existsSync(join(root, name))) spawnSync('cp', ['-a', '--reflink=auto', join(root, name), join(path, name)]);
  }
  const node = join(path, 'node_modules', `node-linux-${process.arch}`, 'bin', 'node');
  return {
    path,
    start({ between = '', env = {}, flags = [], uid } = {}) {
      const entry = join(mkdtempSync(join(path, 'start-')), 'start.ts');
      writeFileSync(
        entry,
        `import * as fs from 'node:fs';
const { loadOnly, verifyOwnTree } = await import('${path}/src/installation/own-tree.ts');
const { installLoadHook } = await import('${path}/src/layers/3-dependencies/load-hook.ts');
try {
  const tree = verifyOwnTree('${path}');
  installLoadHook(tree, fs);
  ${between}
  await loadOnly(tree);
  console.log('loaded', JSON.stringify(tree.checks));
} catch (error) {
  console.log(error.code, error.message);
  process.exitCode = error.exitCode ?? 1;
}
`,
      );
      const command = [node, '--disable-warning=ExperimentalWarning', ...flags, entry];
      const [file = '', ...args] = asOrdinary(uid, command);
      chmodSync(join(entry, '..'), 0o755);
      const { status, stdout, stderr } = spawnSync(file, args, {
        cwd: '/',
        env: { PATH: '/usr/bin:/bin', HOME: '/', ...env },
        encoding: 'utf8',
        timeout: 60_000,
      });
      rmSync(join(entry, '..'), { recursive: true, force: true });
      return { code: status, output: `${stdout}${stderr}` };
    },
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }),
  };
}
