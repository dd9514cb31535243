/**
 * The first image of the supervisor verifies the installed tree while it copies the program into immutable memory.
 *
 * It opens the foreign function interface as soon as that interface is verified, and hides itself. It then hashes Node
 * and every native library while copying them, so that the bytes that were hashed are the bytes that run later.
 *
 * Limits:  until the image has hidden itself, another program run by the same user can inspect it and change what it
 *          does.
 * Proof:   test/attacks/3-native.test.ts, test/attacks/6-window.test.ts
 * @module
 */
import * as fs from 'node:fs';
import { prepareOwnTree, loadOnly } from '../../installation/own-tree.ts';
import { nativeNames } from '../../layers/3-dependencies/native-code.ts';
import type { PreparedTree, VerifiedTree } from '../../layers/3-dependencies/types.ts';
import { nodePath } from '../../layers/3-dependencies/tree-verifier.ts';

/** The program of a verified tree, in immutable memory. */
export type FrozenProgram = {
  readonly tree: VerifiedTree;
  /** Descriptors of the native libraries by name, in the order in which children inherit them. */
  readonly natives: ReadonlyMap<string, number>;
  /** Descriptor of Node itself; `undefined` if this kernel cannot run a program from memory. */
  readonly node: number | undefined;
};

const platform = `${process.platform}-${process.arch}`;
/** Any user can read the libraries, because the roles run as another user. */
const readable = 0o444;

type Memory = {
  readonly natives: ReadonlyMap<string, number>;
  readonly node: number | undefined;
  readonly seal: () => void;
};

/**
 * Opens the foreign function interface, hides this process and creates memory for the program.
 * @throws `L3_FILES_DIFFER`
 */
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
    if (!(error instanceof LinuxError)) throw error; // vm.memfd_noexec=2; layer 3 reports it
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

/** Verifies the installation at `root` and makes its program immutable. @throws `L3_*` (exit code 13) */
export async function freezeProgram(root: string, state: string): Promise<FrozenProgram> {
  const prepared = prepareOwnTree(root, state);
  let memory: Memory | undefined;
  let failure: unknown;
  if (prepared.sound) {
    try {
      memory = await openMemory(prepared);
    } catch (error) {
      failure = error; // the comparison reports it together with any other difference
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
