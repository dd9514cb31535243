/**
 * The types of a role's rights. Each role's rights are in a file of their own. Data only.
 * @module
 */

/** What the filter does with a system call. */
type Action = 'allow' | 'kill' | { readonly errno: number };

/** A system call and the reason for its row. */
export type Row = readonly [call: string, reason: string];

/** A call that returns without being executed: an error number, or 0 for success. */
export type AnsweredRow = readonly [call: string, errno: number, reason: string];

/** A call that a role may make: why it needs it, and how it could affect other processes with it. */
export type AllowedRow = readonly [call: string, reason: string, others: string];

/** What one argument must be (or not be), after the mask. */
type Condition = { readonly argument: number; readonly mask?: number; readonly is?: number; readonly not?: number };

/**
 * A call that its arguments decide; if there are several conditions, all must hold. An allowed call also says how it
 * could affect other processes.
 */
export type ConditionalRow = {
  readonly call: string;
  readonly when: Condition | readonly Condition[];
  readonly reason: string;
} & ({ readonly action: 'allow'; readonly others: string } | { readonly action: Exclude<Action, 'allow'> });

/** `required`: anything less than full refuses the start. `preferred`: it is reported. */
type Need = 'required' | 'preferred';

/** Parts of Landlock; an older kernel has only the first ones. */
export type LandlockFeature =
  'landlock-files' | 'landlock-truncating' | 'landlock-ports' | 'landlock-devices' | 'landlock-scopes';

/** Every protection of a role, by its stable id. */
export type Feature =
  | 'no-new-privs'
  | 'core-limit'
  | 'file-size-limit'
  | 'open-files-limit'
  | 'process-limit'
  | 'capabilities'
  | 'own-user'
  | 'network-namespace'
  | LandlockFeature
  | 'seccomp-start'
  | 'seccomp-seal'
  | 'not-dumpable'
  | 'dies-with-supervisor';

/** All rights of a role. */
export type Policy = {
  readonly features: Readonly<Record<Feature, Need>>;
  readonly limits: { readonly openFiles: number };
  /** Memory that no other process can read; created before the file size limit is 0. */
  readonly secretMemory?: readonly [bytes: number, reason: string];
  /** Features that do not apply to this role, each with the reason. */
  readonly without?: readonly (readonly [feature: LandlockFeature, reason: string])[];
  /** Capabilities that the role keeps if root starts it, by the kernel's number; all others are dropped. */
  readonly capabilities?: readonly (readonly [number: number, reason: string])[];
  /** System paths that the role's image reads when it starts. */
  readonly read: readonly Row[];
  readonly execute: readonly Row[];
  /** Calls that return without being executed, from the start of the role. These rules come first. */
  readonly answered: readonly AnsweredRow[];
  /** Calls forbidden to this role, in addition to those forbidden to every role. */
  readonly forbidden: readonly Row[];
  /** Calls that the final filter decides by their arguments. */
  readonly conditions: readonly ConditionalRow[];
  /** Calls that the final filter allows; any call that is neither here nor forbidden returns EPERM. */
  readonly calls: readonly AllowedRow[];
};

/** How an allowed call could affect other processes, where the same answer fits many rows. */
export const effects = {
  none: 'none: it affects this process alone',
  peers: 'none beyond the peers of its own descriptors',
  readsOnly: 'it learns a fact and changes nothing',
} as const;
