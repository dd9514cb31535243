/**
 * The files that take longest, and folders of unit tests, the longest first: the suite starts with them, so that none
 * runs alone at the end.
 * @module
 */
export const slowFirst: readonly string[] = [
  'test/attacks/2-jail.test.ts',
  'test/attacks/5-sessions.test.ts',
  'test/attacks/4-mutations.test.ts',
  'test/attacks/2-installed.test.ts',
  'test/attacks/2-live.test.ts',
  'test/attacks/2-isolate.test.ts',
  'test/attacks/x-matrix.test.ts',
  'test/attacks/5-ends.test.ts',
  'test/attacks/5-mixed.test.ts',
  'test/attacks/5-nowhere.test.ts',
  'test/attacks/6-hostile.test.ts',
  'test/e2e/prove.test.ts',
  'test/attacks/4-keyless.test.ts',
  'test/attacks/3-seal.test.ts',
  'test/e2e/engine-limits.test.ts',
  'test/attacks/2-probe.test.ts',
  'test/attacks/6-watchdog.test.ts',
  'test/attacks/3-mapped.test.ts',
  'test/attacks/2-capture.test.ts',
  'test/attacks/6-serve.test.ts',
  'test/e2e/engine-models.test.ts',
  'test/attacks/6-debugger.test.ts',
  'test/attacks/2-locks.test.ts',
  'test/attacks/6-ordinary.test.ts',
  'test/unit/engine',
  'test/unit/gateway',
  'test/unit/template',
  'test/unit/cli',
  'test/unit/layers',
];
