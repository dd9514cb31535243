/**
 * Import directions, as a table: who may import what. A new folder or a new door to the outside fails here first.
 * @module
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join, normalize } from 'node:path';
import { test } from 'node:test';

const source = join(import.meta.dirname, '..', 'src');
const files = readdirSync(source, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .sort();

/** Every specifier of a file: `from '…'`, bare imports and dynamic ones. */
function specifiers(file: string): { specifier: string; typeOnly: boolean; dynamic: boolean }[] {
  const text = readFileSync(join(source, file), 'utf8');
  const found = [...text.matchAll(/^(import|export)\s+(type\s+)?(?:[\w*{][^;'"]*?from\s+)?['"]([^'"]+)['"]/gm)].map(
    (m) => ({ specifier: m[3]!, typeOnly: m[2] !== undefined, dynamic: false }),
  );
  for (const dynamic of text.matchAll(/\bimport\(\s*['"]([^'"]+)['"]/g))
    found.push({ specifier: dynamic[1]!, typeOnly: false, dynamic: true });
  for (const [, builtin] of text.matchAll(/\bprocess\.getBuiltinModule\('([^']+)'\)/g))
    found.push({ specifier: builtin!, typeOnly: false, dynamic: false });
  return found;
}

const imports = new Map(
  files.map((file) => [
    file,
    specifiers(file).map(({ specifier, typeOnly, dynamic }) => ({
      typeOnly,
      dynamic,
      target: specifier.startsWith('.') ? normalize(join(dirname(file), specifier)) : specifier,
    })),
  ]),
);

/** The first folder of a path; layers count with their number. */
function room(path: string): string {
  const [first = '', second = ''] = path.split('/');
  return first === 'layers' && second !== 'index.ts' ? `${first}/${second}` : first;
}

const processes = ['cli', 'supervisor', 'jail', 'gateway', 'engine', 'watchdog', 'probe'];
const layers = [...new Set(files.map(room).filter((name) => name.startsWith('layers/')))];

/** What each room imports besides itself and `base`: no more than it needs. */
const allowed: Readonly<Record<string, readonly string[]>> = {
  base: [],
  wire: [],
  policy: [],
  linux: [],
  oms: [],
  // Chat templates: no authority, so that the command that inspects a model can run them as well.
  template: [],
  state: ['linux'],
  layers: [],
  'layers/1-loopback': ['linux'],
  'layers/2-isolation': ['linux', 'policy'],
  // Policy for Node's flags, the one list of what a process may be started with.
  'layers/3-dependencies': ['linux', 'oms', 'policy'],
  'layers/4-model': ['linux', 'oms'],
  'layers/5-memory': ['linux'],
  'layers/6-intrusion': ['linux', 'policy'],
  installation: ['state', 'linux', 'oms', 'layers/3-dependencies'],
  setup: ['oms', 'layers/3-dependencies'],
  cli: ['state', 'installation', 'template', 'linux', 'oms', 'policy', ...layers.filter((name) => !/5-/.test(name))],
  supervisor: ['state', 'installation', 'linux', 'oms', 'wire', 'policy', ...layers],
  jail: ['linux', 'wire', 'policy', 'layers/2-isolation', 'layers/3-dependencies'],
  gateway: ['linux', 'wire', 'layers/1-loopback', 'layers/2-isolation'],
  engine: [
    'template',
    'linux',
    'wire',
    'layers/2-isolation',
    'layers/3-dependencies',
    'layers/4-model',
    'layers/5-memory',
  ],
  probe: ['linux', 'policy', 'layers/2-isolation'],
  watchdog: ['linux', 'wire', 'layers/2-isolation', 'layers/6-intrusion'],
};

test('every import goes in an allowed direction', () => {
  const wrong: string[] = [];
  for (const [file, list] of imports) {
    const from = room(file);
    assert.ok(Object.hasOwn(allowed, from), `src/${from} is not in the table`);
    for (const { target } of list) {
      if (!target.endsWith('.ts')) continue;
      const to = room(target);
      if (to !== from && to !== 'base' && !allowed[from]!.includes(to)) wrong.push(`${file} -> ${target}`);
    }
  }
  assert.deepEqual(wrong, []);
});

test('every direction of the table is used: what a room no longer needs goes', () => {
  const used = new Set(
    [...imports].flatMap(([file, list]) => list.map(({ target }) => `${room(file)} -> ${room(target)}`)),
  );
  const unused = Object.entries(allowed).flatMap(([from, rooms]) =>
    rooms.map((to) => `${from} -> ${to}`).filter((direction) => !used.has(direction)),
  );
  assert.deepEqual(unused, []);
});

test('processes never import one another, and base has no authority', () => {
  for (const [file, list] of imports) {
    for (const { target } of list) {
      if (processes.includes(room(file)) && processes.includes(room(target)))
        assert.equal(room(file), room(target), `${file} -> ${target}`);
      if (room(file) === 'base')
        assert.ok(!target.startsWith('node:') || target === 'node:util', `${file} -> ${target}`);
    }
  }
});

/** Modules with authority, and the only files that may import them. */
const doors: Readonly<Record<string, readonly RegExp[]>> = {
  // Only its types; linux/ffi.ts loads its native code.
  koffi: [],
  // Keyless signatures of model makers: one command, never a process that serves.
  '@sigstore/bundle': [/^cli\/model\/sigstore\.ts$/],
  '@sigstore/protobuf-specs': [/^cli\/model\/sigstore\.ts$/],
  '@sigstore/verify': [/^cli\/model\/sigstore\.ts$/],
  'node:child_process': [
    /^linux\/command\.ts$/,
    /^supervisor\/roles\/role-process\.ts$/,
    /^layers\/2-isolation\/probe\/probe-runner\.ts$/,
    /^cli\/prove\/target-server\.ts$/,
    /^setup\/lock-digests\.ts$/,
  ],
  'node:http': [/^gateway\//, /^cli\/client\.ts$/, /^cli\/chat\.ts$/],
  'node:net': [/^gateway\//, /^cli\/prove\/raw-http\.ts$/, /^linux\/sockets\/inherited-stream\.ts$/],
  'node:dgram': [],
  'node:dns': [],
  'node:https': [],
  'node:http2': [],
  'node:tls': [],
  'node:cluster': [],
  // code-loading-lockdown.ts imports these to shut them.
  'node:inspector': [/^layers\/3-dependencies\/code-loading-lockdown\.ts$/],
  'node:vm': [/^layers\/3-dependencies\/code-loading-lockdown\.ts$/],
  'node:repl': [],
  'node:worker_threads': [/^oms\/hash-(pool|worker)\.ts$/, /^layers\/3-dependencies\/code-loading-lockdown\.ts$/],
};

test('modules with authority are imported at their one door only', () => {
  for (const [file, list] of imports) {
    for (const { target, typeOnly } of list) {
      const door = doors[target];
      if (door !== undefined && !typeOnly)
        assert.ok(
          door.some((pattern) => pattern.test(file)),
          `${file} may not import ${target}`,
        );
      if (!target.startsWith('node:') && !target.endsWith('.ts'))
        assert.ok(door !== undefined, `${file} imports ${target}, which is not in the table`);
    }
  }
});

test('native code of a package is loaded in one place, and by no other way than the verified one', () => {
  const loading = files.filter((file) => /\bprocess\.dlopen\(/.test(readFileSync(join(source, file), 'utf8')));
  assert.deepEqual(loading, ['linux/ffi.ts']);
});

test('built-ins that load much more when they are imported are taken with getBuiltinModule', () => {
  // An import evaluates every export, also the getters behind which Node keeps an HTTP client and Web Crypto: 2 to 40 ms.
  const imported = files.filter((file) =>
    /^import (?!type )[^;]*? from 'node:(?:crypto|http|inspector|worker_threads)';$/m.test(
      readFileSync(join(source, file), 'utf8'),
    ),
  );
  assert.deepEqual(imported, []);
});

test('the supervisor and the gateway import no parser of request bodies', () => {
  for (const [file, list] of imports) {
    if (room(file) !== 'supervisor' && room(file) !== 'gateway') continue;
    for (const { target } of list) assert.notEqual(room(target), 'engine', `${file} -> ${target}`);
  }
});

test('there are no cycles', () => {
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]) => {
    assert.ok(!path.includes(file), `cycle: ${[...path, file].join(' -> ')}`);
    if (done.has(file)) return;
    for (const { target } of imports.get(file) ?? []) if (target.endsWith('.ts')) visit(target, [...path, file]);
    done.add(file);
  };
  for (const file of files) visit(file, []);
});

test('no barrels, no default exports, no vague names, no `any`', () => {
  for (const file of files) {
    const text = readFileSync(join(source, file), 'utf8');
    assert.doesNotMatch(text, /^export \* from/m, `${file} is a barrel`);
    assert.doesNotMatch(text, /^export default/m, file);
    assert.doesNotMatch(file, /utils?|helpers?|common|manager/, file);
    assert.doesNotMatch(text, /\bas any\b|: any(?=[;,)\]>=]|$)|@ts-(ignore|expect-error|nocheck)/m, file);
    assert.ok(text.startsWith('/**'), `${file} has no head that says what it is`);
  }
});

test('a file whose head names a proof has that proof', () => {
  for (const file of files) {
    const text = readFileSync(join(source, file), 'utf8');
    for (const [, proofs] of text.matchAll(/^ \* Proof:\s+(.+)$/gm)) {
      for (const proof of proofs!.split(/,\s*/)) {
        const path = proof.trim().split(' ')[0]!;
        assert.doesNotThrow(() => readFileSync(join(source, '..', path)), `${file}: ${path} does not exist`);
      }
    }
  }
});

/** Names that every process or layer has one of. */
const sharedNames: ReadonlySet<string> = new Set(['main.ts', 'status.ts', 'types.ts']);

test('one file name stands for one thing, and a folder holds what one look takes in', () => {
  const names = new Map<string, string>();
  const folders = new Map<string, number>();
  for (const file of files) {
    const [name, folder] = [basename(file), dirname(file)];
    if (!sharedNames.has(name)) assert.equal(names.get(name) ?? file, file, `${file} has the name of another`);
    names.set(name, file);
    folders.set(folder, (folders.get(folder) ?? 0) + 1);
  }
  for (const [folder, count] of folders) assert.ok(count <= 15, `src/${folder} holds ${count} files`);
});

test('native functions are declared in linux and engine/llama only', () => {
  for (const file of files) {
    const text = readFileSync(join(source, file), 'utf8');
    for (const [, names = ''] of text.matchAll(/^import \{([^}]*)\} from '[^']*\/ffi\.ts';$/gm))
      for (const name of names.split(',').map((one) => one.trim()))
        if (name !== '' && name !== 'LinuxError')
          assert.match(file, /^(linux|engine\/llama)\//, `${file} imports ${name} of linux/ffi.ts`);
  }
});

/** Every file and module that these files load, with what those load in turn. */
function loadedBy(entries: readonly string[], withDynamic: boolean): ReadonlySet<string> {
  const loaded = new Set<string>();
  const load = (target: string): void => {
    if (loaded.has(target)) return;
    loaded.add(target);
    for (const one of imports.get(target) ?? []) if (!one.typeOnly && (withDynamic || !one.dynamic)) load(one.target);
  };
  entries.forEach(load);
  return loaded;
}

test('no serving process loads the file that runs system programs', () => {
  const entries = ['supervisor', 'gateway', 'engine', 'watchdog', 'probe', 'jail'].map((room) => `${room}/main.ts`);
  const loaded = loadedBy([...entries, 'jail/entry.ts'], true);
  assert.ok(loaded.has('supervisor/server.ts') && loaded.has('jail/main.ts'), 'imports are followed');
  assert.ok(!loaded.has('linux/command.ts'));
});

test('what verifies an installation loads nothing of it: Node built-ins and files of src only', () => {
  for (const entry of ['jail/entry.ts', 'installation/own-tree.ts'])
    for (const target of loadedBy([entry], false))
      assert.ok(target.endsWith('.ts') || target.startsWith('node:'), `${entry} loads ${target}`);
});

test('no file over 300 lines, no line over 120 columns', () => {
  const wrong: string[] = [];
  for (const file of files) {
    const lines = readFileSync(join(source, file), 'utf8').split('\n');
    if (lines.length > 301) wrong.push(`${file}: ${lines.length - 1} lines`);
    for (const [at, line] of lines.entries())
      if (line.length > 120) wrong.push(`${file}:${at + 1}: ${line.length} columns`);
  }
  assert.deepEqual(wrong, []);
});

test('the runner finds the marker of every test file that needs root or a process of its own', () => {
  const folder = import.meta.dirname;
  for (const file of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    if (file.startsWith('node_modules') || !file.endsWith('.test.ts')) continue;
    const [head = ''] = readFileSync(join(folder, file), 'utf8').split('*/');
    for (const marker of ['Needs root', 'Runs in a process of its own']) {
      if (!head.replace(/\s+\*?\s*/g, ' ').includes(marker)) continue;
      assert.ok(head.includes(marker), `${file}: "${marker}" is broken over two lines, and the runner does not see it`);
    }
  }
});
