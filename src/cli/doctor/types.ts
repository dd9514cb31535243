/**
 * The facts that `kwyre doctor` reads from a machine, and the findings that it reports.
 * @module
 */
import type { Layer } from '../../base/errors.ts';

/** Whether a model's file is the approved one. If not, `fault` is the reason. */
export type ModelState = { readonly name: string; readonly fault: string | undefined };

/** Facts that only native code can determine. */
export type KernelFacts = {
  /** 0 if the kernel has no Landlock. */
  readonly landlockAbi: number;
  readonly secretMemoryFault: string | undefined;
  readonly models: readonly ModelState[];
};

/** The text of a finding if native code was not loaded. */
export const notLoaded = 'not checked: native code that differs from the published packages is not loaded';

/** The facts about a machine. A fact that could not be read is `undefined`. */
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
  /** Why `memfd_secret` is unavailable; `undefined` if it is available. */
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
  /** How the installed tree differs from the published packages; `undefined` if it does not. */
  readonly treeFault: string | undefined;
  readonly models: readonly ModelState[];
};

export type Finding = {
  readonly id: string;
  /** The layer that depends on it; 0 if all do. */
  readonly layer: Layer | 0;
  /** `full`: available. `less`: a weaker protection is used instead. `none`: missing, but required to start. */
  readonly status: 'full' | 'less' | 'none';
  readonly title: string;
  /** The observed fact. */
  readonly reason: string;
  /** How to improve it; empty if nothing needs to be done. */
  readonly remedy: string;
};
