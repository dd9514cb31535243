/**
 * The first image of the supervisor: it verifies the tree while it copies what runs of it into sealed memory.
 *
 * As soon as the foreign function interface was compared it is opened, this process hides itself, and Node and every
 * native library are copied on their way through the hash: the bytes that were hashed are the bytes that run later.
 *
 * Limits:  until it has hidden itself another program of the same user may look into this image, and change what it
 *          does.
 * Proof:   test/attacks/3-native.test.ts, test/attacks/6-window.test.ts
 * @module
 */
import * as fs from 'node:fs';
import { prepareOwnTree, loadOnly } from '../../installation/own-tree.ts';
import { nativeNames } from '../../layers/3-dependencies/native-code.ts';
import type { PreparedTree, VerifiedTree } from '../../layers/3-dependencies/types.ts';
import { nodePath } from '../../layers/3-dependencies/tree-verifier.ts';

/** What runs of a verified tree, in sealed memory. */
export type FrozenProgram = {
  readonly tree: VerifiedTree;
  /** Descriptors of native code by its name, in the order in which children are handed it. */
  readonly natives: ReadonlyMap<string, number>;
  /** Node itself; `undefined` where this kernel runs no program from memory. */
  readonly node: number | undefined;
};

const platform = `${process.platform}-${process.arch}`;
/** Everybody may read a library: a role has another user than who copied it. */
const readable = 0o444;

type Memory = {
  readonly natives: ReadonlyMap<string, number>;
  readonly node: number | undefined;
  readonly seal: () => void;
};

/** Opens the interface, hides this process and makes empty memory for what runs. @throws `L3_FILES_DIFFER` */
async function openMemory(prepared: PreparedTree): Promise<Memory> {
  await loadOnly(prepared);
  const { makeMemfd, makeProgram, sealMemfd, sealProgram } = await import('../../linux/memory/memfd.ts');
  const { setUndumpable } = await import('../../linux/process.ts');
  setUndumpable();
  const { LinuxError } = await import('../../linux/ffi.ts');
  const natives = new Map(
    nativeNames(prepared.files.keys(), platform).map((name) => {
      const fd = makeMemfd('kwyre-native');
      fs.fchmodSync(fd, readable);
      return [name, fd];
    }),
  );
  let node: number | undefined;
  try {
    node = makeProgram('kwyre-node');
  } catch (error) {
    if (!(error instanceof LinuxError)) throw error; // vm.memfd_noexec=2; the second image says so
  }
  return {
    natives,
    node,
    seal() {
      for (const fd of natives.values()) sealMemfd(fd);
      if (node !== undefined) sealProgram(node);
    },
  };
}

/** Verifies the installation at `root` and seals what runs of it. @throws `L3_*` (exit 13) */
export async function freezeProgram(root: string, state: string): Promise<FrozenProgram> {
  const prepared = prepareOwnTree(root, state);
  let memory: Memory | undefined;
  let failure: unknown;
  if (prepared.sound) {
    try {
      memory = await openMemory(prepared);
    } catch (error) {
      failure = error; // the whole comparison names it beside everything else that differs
    }
  }
  const copies =
    memory === undefined
      ? undefined
      : new Map([
          ...memory.natives,
          ...(memory.node === undefined ? [] : [[nodePath(platform), memory.node] as const]),
        ]);
  const tree = prepared.compare(copies);
  if (memory === undefined) throw failure;
  memory.seal();
  return { tree, natives: memory.natives, node: memory.node };
}
