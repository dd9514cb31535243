/**
 * The input and the results of layer 3's verification.
 * @module
 */
import type * as fs from 'node:fs';
import type { Check } from '../../base/verdict.ts';
import type { TreeEvidence } from '../../oms/manifest-verifier.ts';
import type { Disk } from '../../oms/tree-reader.ts';
import type { Access } from './tree-access.ts';

/** The verifying process. @internal */
export type Running = {
  /** Path of the running Node, such as `/proc/self/exe`. */
  readonly executable: string;
  readonly flags: readonly string[];
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly compileCache: string | undefined;
  /** Contents of `/proc/self/maps`. */
  readonly maps: string;
  readonly uid: number;
  /** Such as `linux-x64`. */
  readonly platform: string;
};

/** The installation to verify. */
export type TreeInput = {
  readonly disk: Disk & Pick<typeof fs, 'statSync' | 'readlinkSync' | 'readFileSync'>;
  /** Root folder of the installation. */
  readonly root: string;
  /** The published list of digests for this platform. */
  readonly digests: string;
  /** Contents of `package-lock.json`. */
  readonly lockfile: string;
  readonly running: Running;
  /** Number of threads that hash files. */
  readonly threads: number;
  /** Returns the time in milliseconds. */
  readonly now: () => number;
};

/** An installation's last signature, as recorded in a state folder. */
export type SeenSignature = {
  readonly sequence: number;
  /** Key id; empty if an older version stored only the number. */
  readonly key: string;
  /** Root digest; also empty in that case. */
  readonly root: string;
};

/** The files of a verified tree, as the load hook needs them. */
export type VerifiedFiles = {
  /** Digests by path relative to the root. */
  readonly files: ReadonlyMap<string, string>;
  readonly root: string;
  /** Whether Kwyre's own files are among `files`, under a signature. */
  readonly signed: boolean;
};

/** A tree verified in this run. */
export type VerifiedTree = VerifiedFiles & {
  /** The verified signature, to be recorded in the state folder; `undefined` if the tree is unsigned. */
  readonly signature: SeenSignature | undefined;
  /** Which users can change the verified files and the verifier. */
  readonly access: Access;
  readonly evidence: TreeEvidence & {
    readonly digest: string;
    readonly seconds: number;
    readonly libraries: readonly string[];
  };
  /** Layer 3's checks for the status. */
  readonly checks: readonly Check[];
};

/** A tree before comparison: its list is trusted, but its files are not yet. */
export type PreparedTree = VerifiedFiles & {
  /** Whether the verifying process itself has no fault; `compare` reports its faults. */
  readonly sound: boolean;
  /**
   * Hashes every file and compares it with the list.
   * @param copies - descriptors that receive the hashed bytes of files, by name relative to the root
   * @throws `L3_FILES_DIFFER` with every difference, `L3_OTHERS_WRITE`
   */
  readonly compare: (copies?: ReadonlyMap<string, number>) => VerifiedTree;
};
