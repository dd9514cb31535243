/**
 * How a known tool is recognized.
 * @module
 */

export type Tool = {
  /** Stable id, also the word by which an operator acknowledges it. */
  readonly id: string;
  readonly title: string;
  readonly kind: 'debugger' | 'memory inspector' | 'traffic analyzer' | 'tracer';
  /** Names of executables, lower case, without `.exe` and version. */
  readonly names: readonly string[];
  /** Beginnings of names, for files that carry a version or an edition. */
  readonly starts?: readonly string[];
  /** Scripts and modules that an interpreter runs, without extension. */
  readonly scripts?: readonly string[];
  /** Java archives, without extension and version. */
  readonly archives?: readonly string[];
  /** Java classes and packages (beginnings). */
  readonly classes?: readonly string[];
  /** Runs on Windows only: on Linux the names mean it under an emulator, and other programs by themselves. */
  readonly windows?: true;
};
