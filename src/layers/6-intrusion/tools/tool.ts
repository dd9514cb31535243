/**
 * The type of a known tool: the names by which it is recognized.
 * @module
 */

export type Tool = {
  /** Stable id, with which an operator also acknowledges the tool. */
  readonly id: string;
  readonly title: string;
  readonly kind: 'debugger' | 'memory inspector' | 'traffic analyzer' | 'tracer';
  /** Names of executables, in lower case, without `.exe` or a version. */
  readonly names: readonly string[];
  /** Prefixes of names, for files whose name includes a version or an edition. */
  readonly starts?: readonly string[];
  /** Scripts and modules that an interpreter runs, without their extension. */
  readonly scripts?: readonly string[];
  /** Java archives, without extension or version. */
  readonly archives?: readonly string[];
  /** Java classes, or the packages with which their names begin. */
  readonly classes?: readonly string[];
  /** The tool runs only on Windows. On Linux, the names mean this tool only if they run under an emulator. */
  readonly windows?: true;
};
