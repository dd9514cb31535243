/**
 * Whether the installed test tools are those of the lockfile, by npm's own record of what it installed. Exit code 0:
 * they are.
 * @module
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

type Lock = {
  readonly packages?: Readonly<
    Record<string, { readonly version?: string; readonly integrity?: string; readonly optional?: boolean }>
  >;
};

const folder = join(import.meta.dirname, '..');

function read(name: string): NonNullable<Lock['packages']> {
  try {
    return (JSON.parse(readFileSync(join(folder, name), 'utf8')) as Lock).packages ?? {};
  } catch {
    return {};
  }
}

const wanted = read('package-lock.json');
const installed = read('node_modules/.package-lock.json');
const same = Object.entries(wanted).every(([path, { version, integrity, optional }]) => {
  if (path === '') return true;
  const there = installed[path];
  return there === undefined ? optional === true : there.version === version && there.integrity === integrity;
});
process.exitCode = same && Object.keys(installed).length > 0 ? 0 : 1;
