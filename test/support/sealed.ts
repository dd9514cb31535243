/**
 * What a supervisor hands to its children, for tests that start one themselves: Node and native code in sealed memory.
 * @module
 */
import { closeSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { digestsFile, parseDigests } from '../../src/layers/3-dependencies/published-digests.ts';
import type { VerifiedFiles } from '../../src/layers/3-dependencies/types.ts';
import { nativeNames } from '../../src/layers/3-dependencies/native-code.ts';
import { makeProgram, sealedBytes, sealProgram } from '../../src/linux/memory/memfd.ts';
import { duplicateTo } from '../../src/linux/process.ts';
import { root } from './server.ts';

const platform = `${process.platform}-${process.arch}`;

/** The committed digests of this platform: what a child may load. */
export function listedFiles(): VerifiedFiles {
  const text = readFileSync(join(root, 'src/layers/3-dependencies', digestsFile(platform)), 'utf8');
  return {
    root,
    signed: false,
    files: new Map(parseDigests(text).flatMap((entry) => entry.files.map(({ name, digest }) => [name, digest ?? '']))),
  };
}

/** Names of native code, the foreign function interface first. */
export const natives = nativeNames(listedFiles().files.keys(), platform);

/** Each of them in sealed memory, made once. */
let made: readonly number[] | undefined;
export function nativeFds(): readonly number[] {
  made ??= natives.map((name) => sealedBytes('kwyre-native', readFileSync(join(root, name)), 0o444));
  return made;
}

/** Above every number that a child gets. */
const programDescriptor = 150;
let program: string | undefined;

/** A path that runs Node from sealed memory, which its user cannot read; from this process alone. */
export function sealedNode(): string {
  if (program !== undefined) return program;
  const bytes = readFileSync(process.execPath);
  const fd = makeProgram('kwyre-node');
  for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at, bytes.length - at, at);
  sealProgram(fd);
  duplicateTo(fd, programDescriptor);
  closeSync(fd);
  program = `/proc/self/fd/${programDescriptor}`;
  return program;
}
