/**
 * The form of a role's rights; the rights themselves are in one file per role. Data only.
 * @module
 */

/** What happens to a system call. */
export type Action = 'allow' | 'kill' | { readonly errno: number };

/** One system call and the reason why it stands here. */
export type Row = readonly [call: string, reason: string];

/** A call that is answered without being made: with an error number, or 0 for success. */
export type AnsweredRow = readonly [call: string, errno: number, reason: string];

/** A call that a role may make: what for, and what can be done with it to somebody else. */
export type AllowedRow = readonly [call: string, reason: string, others: string];

/** What one argument must be (or not be), after the mask. */
export type Condition = {
  readonly argument: number;
  readonly mask?: number;
  readonly is?: number;
  readonly not?: number;
};

/**
 * A call that is decided by its arguments; of several conditions every one must hold. What is allowed also says what
 * can be done with it to somebody else.
 */
export type ConditionalRow = {
  readonly call: string;
  readonly when: Condition | readonly Condition[];
  readonly reason: string;
} & ({ readonly action: 'allow'; readonly others: string } | { readonly action: Exclude<Action, 'allow'> });

/** `required`: less than full refuses the start; `preferred`: less than full is reported. */
export type Need = 'required' | 'preferred';

/** What Landlock holds, part by part: a kernel may have the first ones only. */
export type LandlockFeature =
  'landlock-files' | 'landlock-truncating' | 'landlock-ports' | 'landlock-devices' | 'landlock-scopes';

/** Every protection of a role, by its stable name. */
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
  /** Memory that no other process can read, made for the role before files may not grow any more. */
  readonly secretMemory?: readonly [bytes: number, reason: string];
  /** Features that this role does without, each with the reason. */
  readonly without?: readonly (readonly [feature: LandlockFeature, reason: string])[];
  /** Capabilities that it keeps where root starts it, by the kernel's number; everything else is dropped. */
  readonly capabilities?: readonly (readonly [number: number, reason: string])[];
  /** Paths of the system that the role's image reads when it starts. */
  readonly read: readonly Row[];
  readonly execute: readonly Row[];
  /** Answered from the start of the role on, before anything else is asked. */
  readonly answered: readonly AnsweredRow[];
  /** Forbidden to this role besides what no role may do. */
  readonly forbidden: readonly Row[];
  /** Decided by arguments in the sealed filter. */
  readonly conditions: readonly ConditionalRow[];
  /** What the sealed role may call; anything that neither stands here nor is forbidden gets EPERM. */
  readonly calls: readonly AllowedRow[];
};
