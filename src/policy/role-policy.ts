/**
 * The types that describe a role's rights. Each role's rights are in a separate file. Data only.
 * @module
 */

/** The filter's action for a system call. */
type Action = 'allow' | 'kill' | { readonly errno: number };

/** A system call and the reason for its row. */
export type Row = readonly [call: string, reason: string];

/** A call that returns an error number, or 0 for success, without being executed. */
export type AnsweredRow = readonly [call: string, errno: number, reason: string];

/** A call that a role may make, the reason why it needs the call, and how the call could affect other processes. */
export type AllowedRow = readonly [call: string, reason: string, others: string];

/** The value that one argument must have (or must not have) after the mask is applied. */
type Condition = { readonly argument: number; readonly mask?: number; readonly is?: number; readonly not?: number };

/**
 * A rule for a call with certain arguments; if there are several conditions, all must hold. For an allowed call,
 * `others` describes how it could affect other processes.
 */
export type ConditionalRow = {
  readonly call: string;
  readonly when: Condition | readonly Condition[];
  readonly reason: string;
} & ({ readonly action: 'allow'; readonly others: string } | { readonly action: Exclude<Action, 'allow'> });

/** `required`: the start fails unless the feature is fully in force. `preferred`: anything less is only reported. */
type Need = 'required' | 'preferred';

/** Parts of Landlock, in the order in which kernels introduced them. */
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
  /** Memory that no other process can read; created before the file size limit is set to 0. */
  readonly secretMemory?: readonly [bytes: number, reason: string];
  /** Features that do not apply to this role, each with the reason. */
  readonly without?: readonly (readonly [feature: LandlockFeature, reason: string])[];
  /** Capabilities that the role keeps if root starts it, by the kernel's number; all others are dropped. */
  readonly capabilities?: readonly (readonly [number: number, reason: string])[];
  /** System paths that the role's image reads when it starts. */
  readonly read: readonly Row[];
  readonly execute: readonly Row[];
  /** Calls that, from the moment the role starts, return without being executed. These rules take precedence. */
  readonly answered: readonly AnsweredRow[];
  /** Calls forbidden to this role, in addition to those forbidden to every role. */
  readonly forbidden: readonly Row[];
  /** Rules of the final filter on the arguments of calls. */
  readonly conditions: readonly ConditionalRow[];
  /** Calls that the final filter allows; any call that is neither here nor forbidden returns EPERM. */
  readonly calls: readonly AllowedRow[];
};

/** Descriptions of how an allowed call could affect other processes, for use in many rows. */
export const effects = {
  none: 'none: it affects only this process',
  peers: 'none beyond the peers of its own descriptors',
  readsOnly: 'it learns a fact and changes nothing',
} as const;
