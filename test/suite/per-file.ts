/**
 * Adds up, for each test file that ran in this process, how many tests passed and failed and how long they took; writes
 * it as one line of JSON when all have ended.
 * @module
 */
import type { TestEvent } from 'node:test/reporters';

/** What the tests of one file came to. */
export type FileCount = { passed: number; failed: number; seconds: number };

export default async function* countByFile(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const files: Record<string, FileCount> = {};
  for await (const { type, data } of source) {
    if (type !== 'test:pass' && type !== 'test:fail') continue;
    const count = (files[data.file ?? ''] ??= { passed: 0, failed: 0, seconds: 0 });
    if (data.nesting === 0) count.seconds += data.details.duration_ms / 1000;
    if (data.details.type === 'suite') continue;
    // As test/support/reporter.ts counts: a test that did not run has failed.
    if (type === 'test:pass' && data.skip === undefined && data.todo === undefined) count.passed += 1;
    else count.failed += 1;
  }
  yield JSON.stringify(files);
}
