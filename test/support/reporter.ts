/**
 * Prints the spec report and, last, the plain line `N passed, N failed`; a skipped test counts as failed.
 * @module
 */
import { spec } from 'node:test/reporters';
import type { TestEvent } from 'node:test/reporters';
import { Readable } from 'node:stream';

export default async function* report(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  let passed = 0;
  let failed = 0;
  const skipped: string[] = [];
  async function* count(): AsyncGenerator<TestEvent> {
    for await (const event of source) {
      if ((event.type === 'test:pass' || event.type === 'test:fail') && event.data.details.type !== 'suite') {
        if (event.data.skip !== undefined || event.data.todo !== undefined) skipped.push(event.data.name);
        else if (event.type === 'test:pass') passed += 1;
        else failed += 1;
      }
      yield event;
    }
  }
  yield* Readable.from(count()).compose(new spec()) as AsyncIterable<string>;
  for (const name of skipped) yield `skipped, which counts as failed: ${name}\n`;
  if (skipped.length > 0) process.exitCode = 1;
  yield `\n${String(passed)} passed, ${String(failed + skipped.length)} failed\n`;
}
