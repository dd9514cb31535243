/**
 * What `kwyre doctor` reads from a machine, and what it reports.
 * @module
 */
import type { Layer } from '../../base/errors.ts';

/** Whether a model's file is the approved one; `fault` says why not. */
export type ModelState = { readonly name: string; readonly fault: string | undefined };

/** Facts that only native code can find out. */
export type KernelFacts = {
  /** 0 if the kernel has no Landlock. */
  readonly landlockAbi: number;
  readonly secretMemoryFault: string | undefined;
  readonly models: readonly ModelState[];
};

/** What a finding says if native code was not loaded. */
export const notLoaded = 'not checked: native code that differs from the published packages is not loaded';

/** The facts of a machine; `undefined` where one could not be read. */
export type HostFacts = {
  readonly platform: string;
  readonly architecture: string;
  readonly release: string;
  readonly uid: number;
  readonly wsl: boolean;
  /** 0 for none; `undefined` if native code was not loaded. */
  readonly landlockAbi: number | undefined;
  /** `/proc/sys/kernel/seccomp/actions_avail`. */
  readonly seccompActions: string | undefined;
  readonly noNewPrivs: boolean;
  /** Why `memfd_secret` is not available, or `undefined`. */
  readonly secretMemoryFault: string | undefined;
  readonly namespaces: readonly string[];
  readonly firewall: 'nftables' | 'iptables' | undefined;
  /** Whether `kwyre isolate install` has been run. */
  readonly installed: boolean;
  /** `/proc/sys/fs/leases-enable`. */
  readonly leases: string | undefined;
  /** `/proc/swaps`. */
  readonly swaps: string | undefined;
  readonly corePattern: string | undefined;
  /** Whether the kernel clears pages when they are freed (`init_on_free`). */
  readonly clearsFreedMemory: boolean | undefined;
  readonly ptraceScope: string | undefined;
  readonly hidesProcesses: boolean;
  readonly node: { readonly running: string; readonly pinned: string | undefined; readonly ownBinary: boolean };
  /** The engine's package for this machine. */
  readonly engine: { readonly name: string; readonly present: boolean };
  /** How the installed tree differs from the published packages, or `undefined`. */
  readonly treeFault: string | undefined;
  readonly models: readonly ModelState[];
};

export type Finding = {
  readonly id: string;
  /** The layer that depends on it; 0 if all do. */
  readonly layer: Layer | 0;
  /** `full`: available. `less`: a weaker protection takes its place. `none`: missing, and a start needs it. */
  readonly status: 'full' | 'less' | 'none';
  readonly title: string;
  /** What was found. */
  readonly reason: string;
  /** What would improve it; empty if nothing needs to be done. */
  readonly remedy: string;
};
